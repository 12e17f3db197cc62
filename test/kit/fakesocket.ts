import { Duplex } from 'node:stream';

/** A socket without a network: what it is fed arrives at once, what is written is kept. */
export class FakeSocket extends Duplex {
  readonly written: Buffer[] = [];

  constructor() {
    super({ autoDestroy: true });
  }

  override _read(): void {
    return;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.written.push(Buffer.from(chunk));
    done();
  }

  destroySoon(): void {
    this.destroy();
  }

  feed(bytes: Uint8Array): void {
    this.emit('data', Buffer.from(bytes));
  }
}
