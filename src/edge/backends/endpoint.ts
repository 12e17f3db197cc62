import type { ClientRequest, ResponseHandler } from '../http/message.ts';
import type { Pool, Waiting } from './pool.ts';

/**
 * One address that serves a group. Its identity is (group, protocol, TLS, health check, address, port): what is kept here
 * (connections, requests in flight) outlives snapshots for as long as some group has it.
 */
export class Endpoint {
  readonly identity: string;
  /** The label of its Upstream in metrics. */
  readonly upstream: string;
  /** What it is called in metrics: no part of what it is. */
  label: string;
  readonly address: string;
  readonly port: number;
  readonly host: string;
  readonly pool: Pool;
  /** Requests in flight; the exchange counts them up and down. */
  active = 0;
  /** Groups that hold it. */
  users = 0;

  constructor(identity: string, upstream: string, label: string, address: string, port: number, host: string, pool: Pool) {
    this.identity = identity;
    this.upstream = upstream;
    this.label = label;
    this.address = address;
    this.port = port;
    this.host = host;
    this.pool = pool;
  }

  /** null: `handler.onRequestSent` was called already. Otherwise cancel with `waiting.cancel()`; failures come by `onResponseFailure`. */
  open(request: ClientRequest, end: boolean, handler: ResponseHandler, connectTimeoutMs: number, again = false): Waiting | null {
    return this.pool.open(request, end, handler, connectTimeoutMs, again);
  }
}
