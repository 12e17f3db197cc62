import type { TimerWheel } from '../../../lib/wheel.ts';
import type { BackendFailure } from '../message.ts';
import type { H2Session } from './session.ts';

export interface SessionOptions {
  readonly wheel: TimerWheel;
  /** Decoded size and number of fields of one header list. */
  readonly headerBytes: number;
  readonly headerCount: number;
  /** Streams at once, whatever the backend allows. */
  readonly streams: number;
  /** Interim responses of one request; together they are no larger than one header list may be. */
  readonly informs: number;
  /** How long the backend's SETTINGS may take. */
  readonly readyMs: number;
  /** Silence on a connection with open streams before it is asked whether it is alive, and how long it may take to answer; 0: never. */
  readonly keepAliveMs: number;
  readonly keepAliveTimeoutMs: number;
  /** An exception at one of our boundaries: a defect of ours. */
  onInternalError(where: string, error: unknown): void;
  /** The backend broke a rule; `code` is the RFC's name of what it was told. */
  onProtocolError(scope: 'stream' | 'connection', code: string, detail: string): void;
}

const ignore = (): void => undefined;

export const SESSION_DEFAULTS: Omit<SessionOptions, 'wheel' | 'onInternalError'> = {
  headerBytes: 65_536,
  headerCount: 128,
  streams: 256,
  informs: 32,
  readyMs: 5000,
  keepAliveMs: 30_000,
  keepAliveTimeoutMs: 10_000,
  onProtocolError: ignore,
};

export interface SessionEvents {
  /** The backend's SETTINGS are there: streams may be opened. Comes once, or `onClosed` without it. */
  onReady(session: H2Session): void;
  /** There may be more capacity than before: a stream is gone, or the backend allows more. */
  onCapacity(session: H2Session): void;
  /** No further streams (GOAWAY, shutdown, error): comes once, before `onClosed`. */
  onDraining(session: H2Session): void;
  /** Over: every stream has ended. Null when nothing went wrong. */
  onClosed(session: H2Session, failure: BackendFailure | null): void;
}
