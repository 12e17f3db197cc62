import type { CloseReason, ConnectOptions, QuicConn } from '../engine.ts';
import { handshakeError } from '../failure.ts';
import type { NativeConn } from './conn.ts';
import { Link, type LinkOptions, type LinkOwner } from './link.ts';
import { dialJson } from './options.ts';

/** Keys of client connections: beyond all that slots and generations can give. */
const FIRST_KEY = 2 ** 48;
let nextKey = FIRST_KEY;

/** A client connection on an endpoint of its own. */
export function dial(o: ConnectOptions, link: LinkOptions): Promise<QuicConn> {
  return new Promise((done, fail) => {
    void new Client(o, link, done, fail);
  });
}

class Client implements LinkOwner {
  readonly server = false;
  private readonly link: Link;
  private readonly done: (c: QuicConn) => void;
  private readonly fail: (e: Error) => void;

  constructor(o: ConnectOptions, link: LinkOptions, done: (c: QuicConn) => void, fail: (e: Error) => void) {
    this.done = done;
    this.fail = fail;
    const json = dialJson(o);
    this.link = new Link(link, this, (turn, fault) => link.addon.dial(json, turn, fault));
  }

  keyOf(): number {
    return nextKey++;
  }

  connected(c: NativeConn): void {
    this.done(c);
  }

  failed(why: CloseReason): void {
    this.leave();
    this.fail(handshakeError(why));
  }

  ended(): void {
    this.leave();
  }

  drained(): void {}

  faulted(e: Error): void {
    this.leave();
    this.fail(e);
  }

  /** A client keeps no closing state: once its last packet is out, the socket goes. */
  private leave(): void {
    setImmediate(close, this.link);
  }
}

function close(l: Link): void {
  l.close();
}
