/** How a pool gets its connections: dialled, spoken HTTP/2 on, and watched for their end. */
import type { CertificatePart, GroupPart } from '../../contract/snapshot/index.ts';
import type { DenyList } from '../../lib/deny.ts';
import { err, type Result } from '../../lib/result.ts';
import type { Connect, SessionEvents, Target } from '../backends/index.ts';
import { connectH2, type ConnectEvents } from '../http/h2/connect.ts';
import { dialTls, type DialOptions, type DialTls } from '../http/h2/dial.ts';
import { SESSION_DEFAULTS, type SessionOptions } from '../http/h2/options.ts';
import type { BackendFailure } from '../http/message.ts';
import { internalError, type Plant } from './plant.ts';

/** Failures of one group and kind are told to the operator at most this often. */
const QUIET_MS = 10_000;
/** Whose TLS settings a group keeps. */
const MAX_HOSTS = 256;

/** What to set when an endpoint answers in HTTP/1.x. */
const NOT_HTTP2: Readonly<Record<GroupPart['protocol'], string>> = {
  H2C: 'switch HTTP/2 without TLS on (h2c, prior knowledge) in the endpoint, or set `protocol: H2` here when that port is served with TLS: HTTP/1.1 is not supported yet',
  H2: 'switch HTTP/2 on in the endpoint: its TLS agrees to h2 and then it answers in HTTP/1.x',
};

/** For all endpoints of a group. `client`: the certificate that the group's TLS settings name. */
export function connector(plant: Plant, deny: DenyList, part: GroupPart, client: CertificatePart | null): Connect {
  const onInternalError = (where: string, error: unknown): void => internalError(plant, `h2.${where}`, error);
  const options: Omit<DialOptions, 'timeoutMs'> = { clock: plant.clock, deny, onInternalError };
  const report = reporter(plant, part);
  const session: SessionOptions = {
    ...SESSION_DEFAULTS,
    wheel: plant.wheel,
    onInternalError,
    onProtocolError: (scope, code, detail) =>
      report({ reason: 'backend_protocol_error', unseen: false, detail: `${scope} ${code}: ${detail}` }),
  };
  const byHost = new Map<string, Result<DialTls, string>>();
  const tlsOf = (target: Target): Result<DialTls, string> => {
    let tls = byHost.get(target.host);
    if (tls === undefined) {
      // Endpoints come and go; their names must not pile up.
      if (byHost.size >= MAX_HOSTS) byHost.clear();
      byHost.set(target.host, (tls = tlsFor(part, target, client)));
    }
    return tls;
  };
  return (target, timeoutMs, events) => {
    const tls = part.protocol === 'H2' ? tlsOf(target) : null;
    if (tls !== null && !tls.ok) {
      const failure: BackendFailure = { reason: 'tls_failed', unseen: false, detail: tls.error };
      report(failure);
      events.onFailed(failure);
      return () => {};
    }
    return connectH2(
      { address: target.address, port: target.port, tls: tls === null ? null : tls.value },
      { ...options, timeoutMs },
      session,
      reporting(events, report),
    );
  };
}

/** The pool's events, with failures told to the operator on their way. */
function reporting(events: SessionEvents, report: Report): ConnectEvents {
  return {
    onReady: (s) => events.onReady(s),
    onCapacity: (s) => events.onCapacity(s),
    onClosed: (s) => events.onClosed(s),
    onFailed(failure) {
      report(failure);
      events.onFailed(failure);
    },
  };
}

type Report = (failure: BackendFailure) => void;

function reporter(plant: Plant, part: GroupPart): Report {
  const told = new Map<string, number>();
  return ({ reason, detail }) => {
    const now = plant.clock.now();
    const level = now - (told.get(reason) ?? -Infinity) >= QUIET_MS ? 'warn' : 'debug';
    if (level === 'warn') told.set(reason, now);
    const hint = reason === 'backend_not_http2' ? { hint: NOT_HTTP2[part.protocol] } : {};
    plant.log(level, 'backend failed', {
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
