/** A reader that was held back, and the budget of bytes that turn into nothing. */
import { afterEach, expect, test } from '@jest/globals';
import type { Address, QuicConn, QuicHandler, TlsId } from '../../../../src/edge/quic/engine.ts';
import type { Connection } from '../../../../src/edge/quic/matrixai/binding.ts';
import { Conn, type ConnOwner } from '../../../../src/edge/quic/matrixai/conn.ts';
import type { UdpSocket } from '../../../../src/edge/quic/matrixai/socket.ts';
import { Turn } from '../../../../src/edge/quic/matrixai/turn.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { LOOPBACK } from '../../../kit/fakeconn.ts';

const WINDOW = 1024 * 1024;
const DATAGRAM = Buffer.alloc(1200);

/** A connection whose peer uploads on stream 0: quiche holds what is not read of it. */
class Upload {
  readonly conn: Conn;
  unread = 0;
  read = 0;
  closed: number | null = null;
  /** Whether the next bytes stop the reader. */
  holds = true;
  readonly turn: Turn;

  constructor() {
    const q = {
      recv: (): number => DATAGRAM.length,
      isEstablished: (): boolean => true,
      isReadable: (): boolean => this.unread > 0,
      streamReadable: (id: number): boolean => id === 0 && this.unread > 0,
      readable: (): number[] => (this.unread > 0 ? [0] : []),
      streamRecv: (_id: number, buf: Buffer): [number, boolean] | null => {
        const n = Math.min(this.unread, buf.length);
        this.unread -= n;
        return n === 0 ? null : [n, false];
      },
      streamCapacity: (): number => 1000,
      isDraining: (): boolean => false,
      close: (_app: boolean, code: number): void => void (this.closed = code),
    } as unknown as Connection;
    const handler = {
      onConnection: (): void => {},
      onData: (c: QuicConn, id: number, _buf: Uint8Array, start: number, end: number): void => {
        this.read += end - start;
        if (this.holds) c.pause(id);
      },
    } as unknown as QuicHandler;
    this.turn = new Turn(handler, new ManualClock(1000), () => {});
    const owner = { established: () => true } as unknown as ConnOwner;
    const socket = { local: LOOPBACK as Address, port: 1 } as unknown as UdpSocket;
    this.conn = new Conn(
      {
        key: 1,
        server: true,
        q,
        socket,
        host: '127.0.0.1',
        port: 2,
        remote: LOOPBACK,
        tls: 1 as TlsId,
        needsCertificate: false,
        sni: null,
        handshakeMs: 1000,
        streamWindow: WINDOW,
        connWindow: WINDOW,
        datagrams: false,
      },
      this.turn,
      owner,
    );
    turns.push(this.turn);
  }

  /** Datagrams arrive, of which so many bytes are the stream's. */
  arrive(datagrams: number, bytes: number): void {
    for (let i = 0; i < datagrams && this.closed === null; i++) {
      this.unread += bytes;
      this.conn.recv(DATAGRAM);
    }
  }
}

const turns: Turn[] = [];
afterEach(() => {
  for (const turn of turns.splice(0)) turn.stop();
});

test('a reader that goes on has its window until it has read what came while it stood still', () => {
  const up = new Upload();
  up.arrive(1, 1000);
  up.conn.settle();
  expect(up.read).toBe(1000);
  up.arrive(1000, 1000);
  expect(up.closed).toBe(null);
  up.holds = false;
  up.conn.resume(0);
  // Of a neighbour, before it is the reader's turn.
  up.arrive(1, 0);
  expect(up.closed).toBe(null);
  while (up.unread > 0) {
    up.arrive(1, 0);
    up.conn.settle();
  }
  expect([up.closed, up.read]).toEqual([null, 1_001_000]);
});

test('nor does it have more: with nothing left to read the budget is what it was', () => {
  const held = new Upload();
  const never = new Upload();
  for (const up of [held, never]) {
    up.holds = up === held;
    up.arrive(1, 1000);
    up.conn.settle();
    up.holds = false;
    // Nothing has come meanwhile, for one; for the other there was no pause.
    up.conn.resume(0);
    up.arrive(400, 0);
  }
  expect([held.closed, never.closed]).toEqual([0x107, 0x107]);
});
