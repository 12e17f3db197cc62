/** When a turn deals with what has come. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { QuicHandler } from '../../../../src/edge/quic/engine.ts';
import { Turn } from '../../../../src/edge/quic/matrixai/turn.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { Pace } from '../../../../src/lib/pace.ts';

/** As many as a socket is read at once. */
const READ = 32;

let turns: number;
let turn: Turn;

beforeEach(() => {
  turns = 0;
  const handler: Partial<QuicHandler> = { onTurnEnd: () => turns++ };
  turn = new Turn(handler as QuicHandler, new ManualClock(), (where, e) => {
    throw new Error(where, { cause: e });
  });
  turn.newcomers = () => false;
});
afterEach(() => turn.stop());

/** So many datagrams in one look at the sockets, and what the loop does behind it. */
async function read(datagrams: number): Promise<number> {
  for (let i = 0; i < datagrams; i++) turn.arrived();
  await new Promise(setImmediate);
  return turns;
}

test('what has been read whole is dealt with at once', async () => {
  expect(await read(1)).toBe(1);
  expect(await read(READ - 1)).toBe(2);
  expect(await read(0)).toBe(2);
});

test('while there is more it is read on, and dealt with together', async () => {
  for (let i = 0; i < 3; i++) expect(await read(READ)).toBe(0);
  expect(await read(5)).toBe(1);
  expect(await read(1)).toBe(2);
});

test('but not for ever', async () => {
  const seen: number[] = [];
  for (let i = 0; i < 16; i++) seen.push(await read(READ));
  expect(seen.indexOf(1)).toBe(7);
  expect(seen.indexOf(2)).toBe(15);
});

test('who waits in front of the connections does not wait for it', async () => {
  turn.newcomers = () => true;
  expect(await read(READ)).toBe(1);
});

test('a client deals with what it has read: there is nothing to gather for one connection', async () => {
  turn.newcomers = null;
  expect(await read(READ)).toBe(1);
});

test('nor do requests that wait for what the turn frees, and the turn before a rest is told', async () => {
  let [used, rests] = [0, 0];
  const pace = new Pace({ now: () => 0, used: () => (used += 10), sleep: () => rests++ });
  pace.share = 0.5;
  pace.wanted = () => true;
  turn.pace = pace;
  expect(await read(READ)).toBe(1);
  expect(rests).toBe(1);
});
