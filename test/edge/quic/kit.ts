import { createHash } from 'node:crypto';
import type {
  CloseReason,
  ConnectOptions,
  Limits,
  ListenOptions,
  QuicConn,
  QuicHandler,
  TlsEntry,
  TlsId,
  TlsTable,
} from '../../../src/edge/quic/engine.ts';
import { deriveCidKey, deriveResetKey, deriveTokenKeys } from '../../../src/edge/quic/keys.ts';
import { makeCa, makeLeaf } from '../../kit/certs.ts';

export const INSTALLATION = createHash('sha256').update('test installation').digest();
export const ALPN = 'h3';

let ids = 0;

export function entry(names: readonly string[], more: Partial<TlsEntry> & { type?: 'ecdsa' | 'rsa' } = {}): TlsEntry {
  const { type, ...rest } = more;
  const leaf = makeLeaf(makeCa('ca'), { names, type: type ?? 'ecdsa' });
  return { id: ++ids as TlsId, certs: [leaf], clientAuth: 'none', alpn: [ALPN], earlyData: false, ticketKeys: [], ...rest };
}

let fallback: TlsEntry | null = null;

/** The entry that most tests use: one per process, since certificates cost. */
export function localEntry(): TlsEntry {
  return (fallback ??= entry(['localhost', '127.0.0.1', '::1']));
}

export function table(
  entries: readonly TlsEntry[] = [localEntry()],
  names: readonly (readonly [string, TlsEntry])[] = [],
  other: TlsEntry | null = entries[0] ?? null,
): TlsTable {
  return { entries, names: new Map(names.map(([n, e]) => [n, e.id])), fallback: other?.id ?? null };
}

export const LIMITS: Limits = {
  connections: 1000,
  halfOpen: 200,
  handshakesPerSecond: 1000,
  retryAbove: 100,
  perAddress: 500,
  handshakeMs: 5000,
  idleMs: 10_000,
  bidi: 100,
  uni: 8,
  streamWindow: 256 * 1024,
  connWindow: 4 * 1024 * 1024,
  datagrams: true,
};

export function listenOptions(more: Partial<Omit<ListenOptions, 'limits'>> & { limits?: Partial<Limits> } = {}): ListenOptions {
  return {
    hosts: ['127.0.0.1'],
    port: 0,
    reusePort: false,
    cid: { nodeId: 7, workerId: 3, key: deriveCidKey(INSTALLATION) },
    resetKey: deriveResetKey(INSTALLATION, 0),
    tokenKeys: deriveTokenKeys(INSTALLATION, 1),
    retry: 'off',
    tls: table(),
    congestion: 'cubic',
    receiveBuffer: 1 << 20,
    sendBuffer: 1 << 20,
    ...more,
    limits: { ...LIMITS, ...more.limits },
  };
}

export function connectOptions(port: number, more: Partial<ConnectOptions> = {}): ConnectOptions {
  return {
    host: '127.0.0.1',
    port,
    local: null,
    sni: 'localhost',
    alpn: [ALPN],
    ca: makeCa('ca').cert,
    insecure: false,
    handshakeMs: 4000,
    idleMs: 10_000,
    ...more,
  };
}

/** What happened on one stream, as the handler saw it. */
export class Seen {
  readonly chunks: Buffer[] = [];
  bytes = 0;
  fin = false;
  resets: number[] = [];
  stops: number[] = [];
  writable = 0;

  data(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

export type Hooks = Partial<QuicHandler>;

/** A handler that remembers everything, with hooks of the test's own, and waits for conditions without sleeping. */
export class Recorder implements QuicHandler {
  readonly conns: QuicConn[] = [];
  readonly closes: { conn: QuicConn; why: CloseReason }[] = [];
  readonly faults: Error[] = [];
  readonly foreign: { worker: number; bytes: Buffer; from: Buffer; to: Buffer }[] = [];
  readonly datagrams: Buffer[] = [];
  turns = 0;
  paths = 0;
  keep = true;
  hooks: Hooks;
  private readonly streams = new Map<QuicConn, Map<number, Seen>>();
  private waiters: { check: () => boolean; done: () => void }[] = [];

  constructor(hooks: Hooks = {}) {
    this.hooks = hooks;
  }

  seen(c: QuicConn, id: number): Seen {
    let of = this.streams.get(c);
    if (of === undefined) this.streams.set(c, (of = new Map()));
    let s = of.get(id);
    if (s === undefined) of.set(id, (s = new Seen()));
    return s;
  }

  forget(c: QuicConn, id: number): void {
    this.streams.get(c)?.delete(id);
  }

  ids(c: QuicConn): number[] {
    return [...(this.streams.get(c)?.keys() ?? [])];
  }

  /** Resolves as soon as an event makes `check` true; the test's own timeout is the bound. */
  until(check: () => boolean): Promise<void> {
    if (check()) return Promise.resolve();
    return new Promise((done) => this.waiters.push({ check, done }));
  }

  private changed(): void {
    if (this.waiters.length === 0) return;
    const still: typeof this.waiters = [];
    for (const w of this.waiters) {
      if (w.check()) w.done();
      else still.push(w);
    }
    this.waiters = still;
  }

  onConnection(c: QuicConn): void {
    this.conns.push(c);
    this.hooks.onConnection?.(c);
    this.changed();
  }

  onData(c: QuicConn, id: number, buf: Uint8Array, start: number, end: number, fin: boolean): void {
    const s = this.seen(c, id);
    s.bytes += end - start;
    s.fin = s.fin || fin;
    if (this.keep) s.chunks.push(Buffer.from(buf.subarray(start, end)));
    this.hooks.onData?.(c, id, buf, start, end, fin);
    this.changed();
  }

  onReset(c: QuicConn, id: number, code: number): void {
    this.seen(c, id).resets.push(code);
    this.hooks.onReset?.(c, id, code);
    this.changed();
  }

  onStop(c: QuicConn, id: number, code: number): void {
    this.seen(c, id).stops.push(code);
    this.hooks.onStop?.(c, id, code);
    this.changed();
  }

  onWritable(c: QuicConn, id: number): void {
    this.seen(c, id).writable++;
    this.hooks.onWritable?.(c, id);
    this.changed();
  }

  onDatagram(c: QuicConn, buf: Uint8Array, start: number, end: number): void {
    this.datagrams.push(Buffer.from(buf.subarray(start, end)));
    this.hooks.onDatagram?.(c, buf, start, end);
    this.changed();
  }

  onPath(c: QuicConn): void {
    this.paths++;
    this.hooks.onPath?.(c);
    this.changed();
  }

  onClose(c: QuicConn, why: CloseReason): void {
    this.closes.push({ conn: c, why });
    this.hooks.onClose?.(c, why);
    this.changed();
  }

  onTurnEnd(): void {
    this.turns++;
    this.hooks.onTurnEnd?.();
    this.changed();
  }

  onForeign(worker: number, buf: Uint8Array, start: number, end: number, from: Uint8Array, to: Uint8Array): void {
    this.foreign.push({ worker, bytes: Buffer.from(buf.subarray(start, end)), from: Buffer.from(from), to: Buffer.from(to) });
    this.hooks.onForeign?.(worker, buf, start, end, from, to);
    this.changed();
  }

  onFault(e: Error): void {
    this.faults.push(e);
    this.hooks.onFault?.(e);
    this.changed();
  }
}

/** Sends back what comes, with backpressure: the smallest honest server. */
export function echo(): Recorder {
  const r = new Recorder({
    onData(c, id, buf, start, end, fin) {
      if (!c.write(id, buf, start, end, fin) && !fin) c.pause(id);
    },
    onWritable(c, id) {
      c.resume(id);
    },
  });
  r.keep = false;
  return r;
}

export const text = (s: string): Uint8Array => Buffer.from(s);

export function send(c: QuicConn, id: number, bytes: Uint8Array, fin: boolean): boolean {
  return c.write(id, bytes, 0, bytes.length, fin);
}

/** Of the module: in jest's sandbox a look at a global takes 200 ns, and millions of them the time that a busy machine has not got. */
const { imul } = Math;

export function pattern(length: number, seed = 1): Buffer {
  const out = Buffer.allocUnsafe(length);
  let x = seed >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    x = (imul(x, 1664525) + 1013904223) >>> 0;
    out[i] = x >>> 24;
  }
  return out;
}
