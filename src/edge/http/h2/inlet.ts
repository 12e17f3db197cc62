import type { Socket } from 'node:net';

/** Every socket of the process reads into this one: the reader has copied what it keeps when its call returns. */
const INPUT = Buffer.allocUnsafeSlow(64 * 1024);

export type ByteSink = (buf: Uint8Array, start: number, end: number) => void;

/**
 * Reads of a socket without a buffer and an event each (`onread` of `net.connect` and `tls.connect`).
 * Bytes that come before there is a sink are nobody's: they end the socket.
 */
export class Inlet {
  sink: ByteSink | null = null;
  socket: Socket | null = null;
  readonly onread: { buffer: Uint8Array; callback(n: number, buf: Uint8Array): boolean };

  constructor() {
    this.onread = { buffer: INPUT, callback: (n, buf) => this.receive(n, buf) };
  }

  private receive(n: number, buf: Uint8Array): boolean {
    if (this.sink === null) this.socket?.destroy(new Error('bytes before the connection was established'));
    else this.sink(buf, 0, n);
    return true;
  }
}
