/** An HTTP/3 server over fake connections, under an application that writes everything down. */
import type { Reason } from '../../../../src/contract/reasons.ts';
import { Fields } from '../../../../src/edge/http/fields.ts';
import type { H3Limits } from '../../../../src/edge/http/h3/options.ts';
import { createH3Server, type H3Server } from '../../../../src/edge/http/h3/server.ts';
import type { RequestAbort, RequestHandler, ServerApp, ServerConnection, ServerStream } from '../../../../src/edge/http/message.ts';
import type { CloseReason } from '../../../../src/edge/quic/engine.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { TimerWheel } from '../../../../src/lib/wheel.ts';
import { FakeConn } from '../../../kit/fakeconn.ts';
import { answerOf, bytes, concat, frame, GET, headers, type Pair, type SeenAnswer } from '../../../kit/h3bytes.ts';

export const LIMITS: H3Limits = {
  headerBytes: 65536,
  headerCount: 128,
  headerTimeoutMs: 10_000,
  responseStallMs: 60_000,
  noRequestTimeoutMs: 300_000,
  requestsPerConnection: 100_000,
  maxStreams: 128,
  keepAliveMs: 0,
};

/** What an application saw of one request. */
export class Seen implements RequestHandler {
  readonly stream: ServerStream;
  readonly end: boolean;
  readonly rejection: Reason | null;
  readonly log: string[] = [];
  body = '';
  trailers: Fields | null = null;
  abort: [RequestAbort, number] | null = null;
  private readonly world: World;

  constructor(world: World, stream: ServerStream, end: boolean, rejection: Reason | null) {
    this.world = world;
    this.stream = stream;
    this.end = end;
    this.rejection = rejection;
  }

  private note(event: string): void {
    if (this.abort !== null) this.log.push(`${event} after abort`);
    else this.log.push(event);
    this.world.trap(event);
  }

  onRequestBody(buf: Uint8Array, start: number, end: number): void {
    this.body += Buffer.from(buf.subarray(start, end)).toString('latin1');
    this.note('body');
  }

  onRequestEnd(trailers: Fields | null): void {
    this.trailers = trailers;
    this.note('end');
    this.world.onEnd(this);
  }

  onRequestAbort(abort: RequestAbort, code: number): void {
    this.note('abort');
    this.abort = [abort, code];
  }

  onResponseWritable(): void {
    this.note('writable');
  }

  onResponseSent(): void {
    this.note('sent');
  }
}

export class World implements ServerApp {
  readonly clock = new ManualClock(1000);
  readonly wheel: TimerWheel;
  readonly server: H3Server;
  limits: H3Limits;
  readonly requests: Seen[] = [];
  readonly errors: string[] = [];
  readonly limitsHit: string[] = [];
  readonly dropped: string[] = [];
  readonly moves: string[] = [];
  readonly farewells: CloseReason[] = [];
  readonly internal: [where: string, message: string][] = [];
  readonly connections: ServerConnection[] = [];
  closes = 0;
  /** The event in which the application throws. */
  throwIn = '';
  /** What happens when a request is complete; by default an answer of two bytes. */
  onEnd: (seen: Seen) => void = (seen) => answer(seen);
  onBegin: (seen: Seen) => void = () => {};
  private keys = 0;

  constructor(limits: Partial<H3Limits> = {}) {
    this.limits = { ...LIMITS, ...limits };
    this.wheel = new TimerWheel(this.clock, (e) => {
      throw e;
    });
    this.server = createH3Server({
      clock: this.clock,
      wheel: this.wheel,
      limits: () => this.limits,
      app: this,
      onInternalError: (where, e) => this.internal.push([where, e instanceof Error ? e.message : String(e)]),
      onForeign: () => this.trap('foreign'),
      onFault: () => this.trap('fault'),
    });
  }

  /** A connection whose handshake is done; with the client's control stream unless told otherwise. */
  connect(withSettings = true, stuck?: (ms: number) => readonly number[]): FakeConn {
    const c = new FakeConn(this.server.handler, ++this.keys);
    if (stuck !== undefined) c.stuck = stuck;
    c.open();
    if (withSettings) c.feed(2, concat(bytes(0), frame(0x04)));
    return c;
  }

  trap(event: string): void {
    if (this.throwIn === event) throw new Error(`thrown in ${event}`);
  }

  /** Whether a plain request on this connection is answered as it should be. */
  isHonest(c: FakeConn, id: number, pairs: readonly Pair[] = GET): boolean {
    c.feed(id, headers(pairs), true);
    if (!c.finOn(id)) return false;
    const seen = answerOf(c.bytesOn(id));
    return seen.status === 200 && seen.body === 'ok';
  }

  answer(c: FakeConn, id: number): SeenAnswer {
    return answerOf(c.bytesOn(id));
  }

  onConnection(c: ServerConnection): void {
    this.connections.push(c);
    this.trap('connection');
  }

  onRequest(s: ServerStream, end: boolean, rejection: Reason | null): RequestHandler {
    const seen = new Seen(this, s, end, rejection);
    this.requests.push(seen);
    this.trap('request');
    this.onBegin(seen);
    if (rejection !== null) answer(seen, rejection === 'header_timeout' ? 408 : 431);
    else if (end) this.onEnd(seen);
    return seen;
  }

  onProtocolError(_c: ServerConnection, scope: 'stream' | 'connection', code: string, rule: string): void {
    this.errors.push(`${scope} ${code} ${rule}`);
    this.trap('protocol_error');
  }

  onLimit(_c: ServerConnection, limit: string): void {
    this.limitsHit.push(limit);
    this.trap('limit');
  }

  onFieldDropped(_c: ServerConnection, reason: string): void {
    this.dropped.push(reason);
    this.trap('field_dropped');
  }

  onMove(_c: ServerConnection, host: string, port: number): void {
    this.moves.push(`${host} ${port}`);
    this.trap('move');
  }

  onClose(_c: ServerConnection, why: CloseReason): void {
    this.closes++;
    this.farewells.push(why);
    this.trap('close');
  }
}

export function answer(seen: Seen, status = 200, body = 'ok'): void {
  const s = seen.stream;
  s.respond(status, new Fields(), body === '');
  if (body === '') return;
  const buf = Buffer.from(body, 'latin1');
  s.write(buf, 0, buf.length);
  s.end(null);
}

export function fields(...pairs: readonly Pair[]): Fields {
  const f = new Fields();
  for (const [name, value, never] of pairs) f.add(name, value, never ?? false);
  return f;
}

/** Enough turns of the event loop for what was put off to their end. */
export async function turn(): Promise<void> {
  await Promise.resolve();
  await Promise.resolve();
}
