/** One HTTP/3 GET, for whoever wants to know whether there is an answer. */
import { isIP } from 'node:net';
import { Fields } from '../../edge/http/fields.ts';
import { fetchOnce, type H3Response } from '../../edge/http/h3/client.ts';
import type { ConnectOptions, QuicEngine } from '../../edge/quic/engine.ts';
import { systemClock } from '../../lib/clock.ts';
import { packageVersion } from '../package.ts';

export interface Question {
  /** An IP literal, and its port. */
  readonly address: string;
  readonly port: number;
  /** An address has none. */
  readonly host: string | null;
  readonly authority: string;
  readonly path: string;
}

export interface Patience {
  readonly handshakeMs: number;
  readonly answerMs: number;
}

export type Ask = (question: Question) => Promise<H3Response>;

/** Rejects as `fetchOnce` does. */
export function getOnce(
  engine: QuicEngine,
  q: Question,
  trust: Pick<ConnectOptions, 'ca' | 'insecure'>,
  patience: Patience,
): Promise<H3Response> {
  const fields = new Fields();
  fields.add('user-agent', `spooky-probe/${packageVersion()}`);
  fields.add('accept', '*/*');
  const connect: ConnectOptions = {
    host: q.address,
    port: q.port,
    local: null,
    // Without the dot of an absolute name (RFC 6066 s3).
    sni: q.host === null || isIP(q.host) !== 0 ? null : q.host.replace(/\.$/, ''),
    alpn: ['h3'],
    handshakeMs: patience.handshakeMs,
    idleMs: patience.answerMs,
    ...trust,
  };
  const request = { method: 'GET', scheme: 'https', authority: q.authority, path: q.path, fields, body: null };
  return fetchOnce(engine, connect, request, systemClock, patience.answerMs);
}
