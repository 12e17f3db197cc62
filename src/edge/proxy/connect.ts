/** How a pool gets its connections: dialled, spoken HTTP/2 on, and watched for their end. */
import type { WorkerStart } from '../../contract/channel.ts';
import type { CertificatePart, GroupPart } from '../../contract/snapshot/index.ts';
import { DenyList, LOOPBACK } from '../../lib/deny.ts';
import { err, type Result } from '../../lib/result.ts';
import type { BackendSession, Connect, SessionEvents, Target } from '../backends/index.ts';
import { dial, dialTls, type DialHandler, type DialOptions, type DialTls } from '../http/h2/dial.ts';
import { SESSION_DEFAULTS, type SessionEvents as H2Events, type SessionOptions } from '../http/h2/options.ts';
import { H2Session } from '../http/h2/session.ts';
import type { BackendFailure, ClientRequest, ResponseHandler } from '../http/message.ts';
import { internalError, type Plant } from './plant.ts';

/** Failures of one group are told to the operator at most this often. */
const QUIET_MS = 10_000;

/** `client`: the certificate that the group's TLS settings name. */
export function connector(plant: Plant, start: WorkerStart, part: GroupPart, client: CertificatePart | null): Connect {
  const deny = new DenyList(start.allowLoopbackEndpoints ? start.endpointDeny : [...start.endpointDeny, ...LOOPBACK]);
  const onInternalError = (where: string, error: unknown): void => internalError(plant, `h2.${where}`, error);
  const options: Omit<DialOptions, 'timeoutMs'> = { clock: plant.clock, deny, onInternalError };
  const session: SessionOptions = { ...SESSION_DEFAULTS, wheel: plant.wheel, onInternalError };
  const report = reporter(plant, part);
  const byHost = new Map<string, Result<DialTls, string> | null>();
  return (target, timeoutMs, events) => {
    let tls = byHost.get(target.host);
    if (tls === undefined) {
      tls = part.protocol === 'H2' ? tlsFor(part, target, client) : null;
      byHost.set(target.host, tls);
    }
    if (tls !== null && !tls.ok) {
      const failure: BackendFailure = { reason: 'tls_failed', unseen: false, detail: tls.error };
      report(failure);
      events.onFailed(failure);
      return () => {};
    }
    return dial(
      { address: target.address, port: target.port, tls: tls === null ? null : tls.value },
      { ...options, timeoutMs },
      new Opening(session, events, report),
    );
  };
}

type Report = (failure: BackendFailure) => void;

function reporter(plant: Plant, part: GroupPart): Report {
  let last = -Infinity;
  return ({ reason, detail }) => {
    const now = plant.clock.now();
    const level = now - last >= QUIET_MS ? 'warn' : 'debug';
    if (level === 'warn') last = now;
    const hint =
      reason === 'backend_not_http2' ? { hint: 'the endpoint must speak HTTP/2: set `protocol`, or what the endpoint serves' } : {};
    plant.log(level, 'backend connection failed', {
      upstream: `${part.upstream.namespace}/${part.upstream.name}`,
      backend: part.name,
      reason,
      detail,
      ...hint,
    });
  };
}

function tlsFor(part: GroupPart, target: Target, client: CertificatePart | null): Result<DialTls, string> {
  const tls = part.tls;
  // A certificate that is named and not there must not become none.
  if ((tls?.client ?? null) !== null && client === null) return err('the client certificate is missing');
  return dialTls({
    serverName: tls?.serverName ?? target.host,
    sni: tls?.sni ?? true,
    verify: tls?.verify ?? true,
    ca: typeof tls?.ca !== 'string' ? null : Buffer.from(tls.ca, 'latin1'),
    clientCertificate: client === null ? null : { cert: Buffer.from(client.cert, 'latin1'), key: client.key.reveal() },
  });
}

/** One connection from its first attempt on, as the pool sees it. */
class Opening implements DialHandler, H2Events, BackendSession {
  private readonly options: SessionOptions;
  private readonly events: SessionEvents;
  private readonly report: Report;
  private session: H2Session | null = null;
  private ready = false;

  constructor(options: SessionOptions, events: SessionEvents, report: Report) {
    this.options = options;
    this.events = events;
    this.report = report;
  }

  onConnected(...[socket, inlet]: Parameters<DialHandler['onConnected']>): void {
    this.session = new H2Session(socket, this.options, this, inlet);
  }

  onFailure(failure: BackendFailure): void {
    this.report(failure);
    this.events.onFailed(failure);
  }

  onReady(): void {
    this.ready = true;
    this.events.onReady(this);
  }

  onCapacity(): void {
    if (this.ready) this.events.onCapacity(this);
  }

  onDraining(): void {
    if (this.ready) this.events.onClosed(this);
  }

  onClosed(_session: H2Session, failure: BackendFailure | null): void {
    if (failure !== null) this.report(failure);
    if (!this.ready)
      this.events.onFailed(failure ?? { reason: 'backend_closed', unseen: false, detail: 'closed before its SETTINGS came' });
  }

  get capacity(): number {
    return this.session === null ? 0 : this.session.capacity;
  }

  get active(): number {
    return this.session === null ? 0 : this.session.active;
  }

  open(request: ClientRequest, end: boolean, handler: ResponseHandler): boolean {
    return this.session !== null && this.session.open(request, end, handler);
  }

  shutdown(): void {
    this.session?.shutdown();
  }

  destroy(): void {
    this.session?.destroy({ reason: 'draining', unseen: false, detail: 'the worker is closing' });
  }
}
