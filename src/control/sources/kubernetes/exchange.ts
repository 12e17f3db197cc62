/** One HTTP exchange with the API server: it ends once, for one reason, and leaves nothing behind. */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { request as httpsRequest, type Agent } from 'node:https';
import type { Clock } from '../../../lib/clock.ts';
import type { Access } from './access.ts';
import { apiError, codeOf, messageOf } from './answers.ts';
import type { ApiError } from './api.ts';

/** Connection, handshake and headers together. */
export const HEADERS_MS = 15_000;

export interface Exchange {
  readonly access: Access;
  readonly agent: Agent;
  readonly clock: Clock;
  readonly method: string;
  /** With its query, below the server's own path. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | null;
  readonly signal: AbortSignal | null;
  /** Ends what runs, from outside: it puts itself in and takes itself out. */
  readonly running: Set<() => void>;
}

export interface Reading {
  readonly response: IncomingMessage;
  /** Ends it here: `error` null leaves the connection for the next request, when the response was read to its end. */
  finish(error: ApiError | null): void;
  /** It has ended: nothing that comes now counts. */
  over(): boolean;
  /** Called once, when it ends, for whatever reason. */
  onOver(fn: () => void): void;
}

/** What came of it. `stale`: the connection had been idle, and has ended, perhaps before the server saw the request. */
export interface Outcome {
  readonly error: ApiError | null;
  readonly stale: boolean;
  /** The peer's certificate was not one that we trust. */
  readonly untrusted: boolean;
}

const UNTRUSTED = /CERT|SELF_SIGNED|UNABLE_TO_/;

/**
 * `onResponse` is called once, with the headers; it reads, and finishes. What it throws ends the exchange as malformed. Every other end (the
 * connection's, the signal's, no headers in time) comes from here. Never rejects.
 */
export const exchange = (x: Exchange, onResponse: (reading: Reading) => void): Promise<Outcome> =>
  new Promise((resolve) => {
    let request: ClientRequest | null = null;
    let over = false;
    let answered = false;
    let untrusted = false;
    const endings: (() => void)[] = [];
    const finish = (error: ApiError | null): void => {
      if (over) return;
      over = true;
      cancelHeaders();
      x.signal?.removeEventListener('abort', onAbort);
      x.running.delete(onAbort);
      for (const fn of endings) fn();
      if (error !== null) request?.destroy();
      resolve({ error, stale: error?.kind === 'connection' && !answered && request?.reusedSocket === true, untrusted });
    };
    const onAbort = (): void => finish(apiError('aborted', 'ended'));
    x.running.add(onAbort);
    const cancelHeaders = x.clock.after(HEADERS_MS, () => finish(apiError('timeout', `no answer within ${HEADERS_MS / 1000} s`)));
    const failed = (e: unknown): void => {
      untrusted = UNTRUSTED.test(codeOf(e));
      finish(apiError('connection', messageOf(e)));
    };
    const responded = (response: IncomingMessage): void => {
      cancelHeaders();
      answered = true;
      response.on('error', failed);
      response.on('close', () => finish(apiError('connection', 'the connection ended in mid-answer')));
      if (over) return;
      try {
        onResponse({ response, finish, over: () => over, onOver: (fn) => void endings.push(fn) });
      } catch (e) {
        finish(apiError('malformed', messageOf(e)));
      }
    };
    if (x.signal?.aborted === true) return onAbort();
    x.signal?.addEventListener('abort', onAbort);
    try {
      request = start(x);
      request.on('error', failed);
      request.on('response', responded);
      request.end(x.body ?? undefined);
    } catch (e) {
      failed(e);
    }
  });

const start = ({ access, agent, method, path, headers, body }: Exchange): ClientRequest => {
  const { server } = access;
  const base = server.pathname === '/' ? '' : server.pathname.replace(/\/$/, '');
  return httpsRequest({
    agent,
    method,
    // As sockets take it: without brackets.
    hostname: server.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: server.port === '' ? 443 : Number(server.port),
    path: `${base}${path}`,
    headers: { ...headers, ...access.headers, host: server.host, ...(body === null ? {} : { 'content-length': String(body.length) }) },
  });
};
