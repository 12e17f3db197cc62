import type { BackendFailure, ClientRequest, ResponseHandler } from '../http/message.ts';

/** What a pool needs of a connection to a backend; `edge/http/h2` has the real one. */
export interface BackendSession {
  /** Streams that may be opened now. */
  readonly capacity: number;
  readonly active: number;
  /** Bytes wait for the end of this turn: what is opened now costs no write of its own. */
  readonly writing: boolean;
  /** Streams opened so far, and the latest of them that was answered to its end (1 is the first; 0: none). */
  readonly opened: number;
  readonly answered: number;
  /** How many the peer's GOAWAY says that it took; -1 while there is none. */
  readonly taken: number;
  /** Calls `handler.onRequestSent` before it returns; false when there is no capacity after all. */
  open(request: ClientRequest, end: boolean, handler: ResponseHandler): boolean;
  /** No new streams; closes when the last one is done. */
  shutdown(): void;
  /** Ends it now: its streams fail. */
  destroy(): void;
}

export interface SessionEvents {
  /** May take streams from now on. Comes once, or `onFailed` instead. */
  onReady(session: BackendSession): void;
  onFailed(failure: BackendFailure): void;
  /** A stream ended or the peer's limit rose. */
  onCapacity(session: BackendSession): void;
  /** Takes no further stream (GOAWAY, error, closed). Comes once, after `onReady`. */
  onClosed(session: BackendSession): void;
}

/** Where and how to connect: everything of an endpoint's identity that the dialler needs. */
export interface Target {
  readonly address: string;
  readonly port: number;
  readonly host: string;
}

/** Starts to connect; returns the function that gives up. */
export type Connect = (target: Target, timeoutMs: number, events: SessionEvents) => () => void;
