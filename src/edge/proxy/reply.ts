/**
 * The only place that turns a reason into an answer. What the client learns: the status, RFC 9209's word for it where there is one,
 * and nothing about the inside.
 */
import { STATUS_CODES } from 'node:http';
import { REASON_NAMES, REASONS, type Reason } from '../../contract/reasons.ts';
import { Fields } from '../http/fields.ts';
import type { ServerStream } from '../http/message.ts';
import type { Dates } from './dates.ts';

const RETRY_AFTER_SECONDS = '1';
const OVERLOAD: readonly Reason[] = ['overload', 'limit_pending', 'limit_connections', 'limit_streams', 'draining'];

interface Prepared {
  readonly status: number;
  readonly fields: Fields;
  readonly body: Uint8Array;
  readonly dateAt: number;
}

/** The answers of one listener, put together when it is configured. */
export class Replies {
  private readonly prepared = new Map<Reason, Prepared>();
  private readonly dates: Dates;

  constructor(pseudonym: string, details: boolean, dates: Dates) {
    this.dates = dates;
    for (const reason of REASON_NAMES) this.prepared.set(reason, prepare(reason, pseudonym, details));
  }

  /** Answers and ends the stream; returns the status. */
  send(stream: ServerStream, reason: Reason): number {
    const reply = this.prepared.get(reason) as Prepared;
    reply.fields.values[reply.dateAt] = this.dates.today();
    const head = stream.head.method === 'HEAD';
    stream.respond(reply.status, reply.fields, head);
    if (!head) {
      stream.write(reply.body, 0, reply.body.length);
      stream.end(null);
    }
    return reply.status;
  }
}

function prepare(reason: Reason, pseudonym: string, details: boolean): Prepared {
  // A reason without a status never answers; should it ever, it is a defect of ours.
  const status = REASONS[reason].status === 0 ? REASONS.internal.status : REASONS[reason].status;
  const body = Buffer.from(`${STATUS_CODES[status] ?? status}\n`, 'latin1');
  const fields = new Fields();
  fields.add('date', '');
  fields.add('content-type', 'text/plain; charset=utf-8');
  fields.add('content-length', String(body.length));
  fields.add('proxy-status', proxyStatus(reason, pseudonym, details));
  if (OVERLOAD.includes(reason)) fields.add('retry-after', RETRY_AFTER_SECONDS);
  return { status, fields, body, dateAt: 0 };
}

/** RFC 9209 s2: who answers, then what went wrong. */
function proxyStatus(reason: Reason, pseudonym: string, details: boolean): string {
  const error = REASONS[reason].proxyStatus;
  return `${pseudonym}${error === null ? '' : `; error=${error}`}${details ? `; details="${reason}"` : ''}`;
}
