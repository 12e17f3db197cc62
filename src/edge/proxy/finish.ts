import { specimens } from '../../lib/specimens.ts';
import type { ConnStats } from '../quic/engine.ts';
import { millis, quoted } from './accesslog.ts';
import type { Exchange } from './exchange.ts';
import { makeRequestId } from './requestid.ts';

/** The one end of every exchange: counts, logs and releases what it acquired. */
export function finish(x: Exchange): void {
  if (x.finished) return;
  x.finished = true;
  specimens.exchange = x;
  x.deadlines.release();
  x.view.counters.ended();
  const ms = x.plant.clock.now() - x.stream.head.startedAt;
  (x.destination?.counters ?? x.view.counters.unrouted).count(x.status, x.reason, ms / 1000);
  const log = x.plant.accessLog;
  if (log.wants(x.status, x.reason === 'ok')) log.add(accessLine(x, ms));
}

function accessLine(x: Exchange, ms: number): string {
  const { head, connection, bytesIn, bytesOut } = x.stream;
  return (
    `{"time":"${new Date(x.plant.clock.wall()).toISOString()}","listener":${quoted(x.view.label)}` +
    `,"upstream":${quoted(x.destination?.upstream.label ?? null)},"backend":${quoted(x.groupView?.name ?? null)}` +
    `,"endpoint":${quoted(x.tried?.label ?? null)},"client":${quoted(x.peer.address)}` +
    `,"method":${quoted(head.method)},"authority":${quoted(head.authority)},"path":${quoted(head.path)},"protocol":"HTTP/3"` +
    `,"status":${x.status},"reason":"${x.reason}","bytes_in":${bytesIn},"bytes_out":${bytesOut}` +
    `,"duration_ms":${millis(ms)},"backend_ms":${millis(x.backendMs)},"request_id":${quoted(requestIdOf(x))}` +
    `,"user_agent":${quoted(head.fields.get('user-agent'))},"tls_version":"TLSv1.3","quic":${transport(connection.stats())}}`
  );
}

/** Requests that were refused before they were given an id get it here: the trusted peer's, or a new one. */
function requestIdOf(x: Exchange): string {
  if (x.requestId !== '') return x.requestId;
  const given = x.peer.trusted ? x.stream.head.fields.get('x-request-id') : null;
  return given === null || given === '' ? makeRequestId() : given;
}

/** 0-RTT is refused, so nothing is ever early. */
function transport(stats: ConnStats): string {
  return `{"rtt_ms":${millis(stats.rttMs)},"lost":${stats.lost},"early_data":false}`;
}
