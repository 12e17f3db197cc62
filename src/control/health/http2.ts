/** Checks over HTTP/2, each endpoint over a connection of its own that is kept between checks. */
import type { CertificatePart, GroupPart, PartHash } from '../../contract/snapshot/parts.ts';
import { Fields } from '../../edge/http/fields.ts';
import { dial, dialTls, type DialTls } from '../../edge/http/h2/dial.ts';
import { SESSION_DEFAULTS } from '../../edge/http/h2/options.ts';
import { H2Session } from '../../edge/http/h2/session.ts';
import type { BackendFailure, ClientRequest, ClientStream, KnownHead, ResponseHandler } from '../../edge/http/message.ts';
import type { Clock } from '../../lib/clock.ts';
import { err, type Result } from '../../lib/result.ts';
import { TimerWheel } from '../../lib/wheel.ts';
import { statusExpected, type Checker, type CheckReason, type CheckTarget, type CheckTransport } from './check.ts';

/** A body beyond this is not read to its end. */
const MAX_BODY = 64 * 1024;
const USER_AGENT = 'spooky-health-check';

export interface Http2CheckOptions {
  readonly clock: Clock;
  readonly deny: { denies(address: string): boolean };
  /** A part of the state that is being applied or serves. */
  readonly certificate: (hash: PartHash) => CertificatePart | null;
  onInternalError(where: string, error: unknown): void;
}

type Done = (success: boolean, reason: CheckReason) => void;

export const http2Checks = (o: Http2CheckOptions): CheckTransport => {
  const wheel = new TimerWheel(o.clock, (e) => o.onInternalError('health', e));
  const contexts = new WeakMap<GroupPart, Map<string, Result<DialTls, string> | null>>();
  const tlsFor = (group: GroupPart, host: string): Result<DialTls, string> | null => {
    let byHost = contexts.get(group);
    if (byHost === undefined) {
      byHost = new Map();
      contexts.set(group, byHost);
    }
    const name = group.tls?.serverName ?? host;
    const known = byHost.get(name);
    if (known !== undefined) return known;
    const made = makeTls(group, name, o.certificate);
    byHost.set(name, made);
    return made;
  };
  return { open: (target) => new Http2Checker(target, tlsFor(target.group, target.endpoint.host), o, wheel) };
};

/** null: cleartext. */
const makeTls = (group: GroupPart, serverName: string, certificate: Http2CheckOptions['certificate']): Result<DialTls, string> | null => {
  if (group.protocol === 'H2C') return null;
  const { tls } = group;
  const client = tls === null || tls.client === null ? null : certificate(tls.client);
  if (tls !== null && tls.client !== null && client === null) return err('the client certificate is missing');
  return dialTls({
    serverName,
    sni: tls?.sni ?? true,
    verify: tls?.verify ?? true,
    ca: tls === null || tls.ca === null ? null : Buffer.from(tls.ca),
    clientCertificate: client === null ? null : { cert: Buffer.from(client.cert), key: client.key.reveal() },
  });
};

class Http2Checker implements Checker {
  private readonly target: CheckTarget;
  private readonly tls: Result<DialTls, string> | null;
  private readonly o: Http2CheckOptions;
  private readonly wheel: TimerWheel;
  private session: H2Session | null = null;
  private cancelDial: (() => void) | null = null;
  private cancelTimer: (() => void) | null = null;
  private attempt: Attempt | null = null;
  private done: Done | null = null;
  private closed = false;

  constructor(target: CheckTarget, tls: Result<DialTls, string> | null, o: Http2CheckOptions, wheel: TimerWheel) {
    this.target = target;
    this.tls = tls;
    this.o = o;
    this.wheel = wheel;
  }

  check(done: Done): void {
    if (this.done !== null || this.closed) return done(false, 'internal');
    this.done = done;
    this.cancelTimer = this.o.clock.after(this.target.check.timeoutMs, () => this.late());
    if (this.session !== null && this.session.capacity > 0) this.ask(this.session);
    else this.connect();
  }

  close(): void {
    this.closed = true;
    this.finish(false, 'internal');
    this.drop();
  }

  /** Once per check. */
  finish(success: boolean, reason: CheckReason): void {
    const { done } = this;
    if (done === null) return;
    this.done = null;
    this.cancelTimer?.();
    this.cancelTimer = null;
    done(success, reason);
  }

  private late(): void {
    const waiting = this.attempt !== null;
    this.finish(false, waiting ? 'response_timeout' : 'connect_timeout');
    // A connection that did not answer once is not asked again.
    this.drop();
  }

  private drop(): void {
    this.cancelDial?.();
    this.cancelDial = null;
    this.attempt = null;
    const { session } = this;
    this.session = null;
    session?.destroy({ reason: 'idle_timeout', unseen: false, detail: 'health check' });
  }

  private connect(): void {
    this.drop();
    if (this.tls !== null && !this.tls.ok) return this.finish(false, 'tls_failed');
    const { address, port } = this.target.endpoint;
    this.cancelDial = dial(
      { address, port, tls: this.tls === null ? null : this.tls.value },
      {
        clock: this.o.clock,
        timeoutMs: this.target.check.timeoutMs,
        deny: this.o.deny,
        onInternalError: (where, e) => this.o.onInternalError(where, e),
      },
      {
        onConnected: (socket, inlet) => {
          this.cancelDial = null;
          const options = {
            ...SESSION_DEFAULTS,
            wheel: this.wheel,
            onInternalError: (where: string, e: unknown) => this.o.onInternalError(where, e),
          };
          this.session = new H2Session(socket, options, this, inlet);
        },
        onFailure: (failure) => {
          this.cancelDial = null;
          this.finish(false, failure.reason);
        },
      },
    );
  }

  onReady(session: H2Session): void {
    if (session === this.session && this.done !== null) this.ask(session);
  }

  onCapacity(): void {}

  onDraining(session: H2Session): void {
    // A check under way ends with its stream, or with `onClosed`; the next one connects anew.
    if (session === this.session && this.done === null) this.session = null;
  }

  onClosed(session: H2Session, failure: BackendFailure | null): void {
    if (session !== this.session) return;
    this.session = null;
    this.attempt = null;
    this.finish(false, failure?.reason ?? 'backend_closed');
  }

  private ask(session: H2Session): void {
    const { check, endpoint, group } = this.target;
    const fields = new Fields();
    fields.add('user-agent', USER_AGENT);
    fields.add('accept', '*/*');
    const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
    const request: ClientRequest = {
      method: 'GET',
      scheme: group.protocol === 'H2' ? 'https' : 'http',
      authority: check.hostname ?? `${host}:${endpoint.port}`,
      path: check.path,
      fields,
    };
    const attempt = new Attempt(this);
    this.attempt = attempt;
    if (!session.open(request, true, attempt)) this.finish(false, 'backend_closed');
  }

  /** Of `attempt` only while it is the current one. */
  answered(attempt: Attempt, status: number): void {
    if (attempt !== this.attempt) return;
    this.attempt = null;
    const expected = statusExpected(this.target.check, status);
    this.finish(expected, expected ? 'ok' : 'unexpected_status');
  }

  failed(attempt: Attempt, failure: BackendFailure): void {
    if (attempt !== this.attempt) return;
    this.attempt = null;
    this.finish(false, failure.reason);
  }
}

class Attempt implements ResponseHandler {
  private readonly checker: Http2Checker;
  private stream: ClientStream | null = null;
  private body = 0;

  constructor(checker: Http2Checker) {
    this.checker = checker;
  }

  onRequestSent(stream: ClientStream): void {
    this.stream = stream;
  }

  onInform(): void {}

  onResponse(status: number): void {
    this.checker.answered(this, status);
  }

  onKnownResponse(known: KnownHead): void {
    this.onResponse(known.status);
  }

  onResponseBody(_buf: Uint8Array, start: number, end: number): void {
    this.body += end - start;
    if (this.body <= MAX_BODY) return;
    this.stream?.cancel();
    this.stream = null;
  }

  onResponseEnd(): void {
    this.stream = null;
  }

  onResponseFailure(failure: BackendFailure): void {
    this.stream = null;
    this.checker.failed(this, failure);
  }

  onRequestWritable(): void {}
}
