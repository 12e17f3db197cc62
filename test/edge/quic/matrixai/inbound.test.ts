import { expect, test } from '@jest/globals';
import type { QuicHandler } from '../../../../src/edge/quic/engine.ts';
import type { Connection } from '../../../../src/edge/quic/matrixai/binding.ts';
import type { Conn } from '../../../../src/edge/quic/matrixai/conn.ts';
import { Inbound } from '../../../../src/edge/quic/matrixai/inbound.ts';
import { OPEN } from '../../../../src/edge/quic/matrixai/state.ts';
import { Stream } from '../../../../src/edge/quic/stream.ts';

interface State {
  readonly finished: boolean;
  readonly readable: boolean;
}

/** What the handler hears when it is looked for ends that quiche says nothing of, twice. */
function heard(server: boolean, state: State, begun = true): string[] {
  const log: string[] = [];
  const handler = {
    onData: (_c: unknown, id: number, _b: Uint8Array, start: number, end: number, fin: boolean) =>
      log.push(`data ${id} ${end - start} ${fin}`),
    onReset: (_c: unknown, id: number, code: number) => log.push(`reset ${id} ${code}`),
  } as unknown as QuicHandler;
  const conn = { server, state: OPEN, caughtUp: () => {}, settleStream: (s: Stream) => log.push(`settled ${s.id}`) } as unknown as Conn;
  const inbound = new Inbound(conn, handler, Buffer.alloc(8), false);
  const q = { streamFinished: () => state.finished, streamReadable: () => state.readable } as unknown as Connection;
  inbound.follow(new Stream(0, true, true, begun));
  inbound.pollEnds(q);
  inbound.pollEnds(q);
  return log;
}

test('an end of which quiche says nothing is told once: to a server as a reset, since it may have been one', () => {
  const silent = { finished: true, readable: false };
  expect(heard(true, silent)).toEqual(['reset 0 0', 'settled 0']);
  expect(heard(false, silent)).toEqual(['data 0 0 true', 'settled 0']);
});

test('what is to be read, what has not ended, and what quiche does not know yet have no such end', () => {
  expect(heard(true, { finished: true, readable: true })).toEqual([]);
  expect(heard(true, { finished: false, readable: false })).toEqual([]);
  expect(heard(false, { finished: true, readable: false }, false)).toEqual([]);
});
