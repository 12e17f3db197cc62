import type { BackendFailure } from '../message.ts';
import { dial, type DialOptions, type DialTarget } from './dial.ts';
import type { SessionEvents, SessionOptions } from './options.ts';
import { H2Session } from './session.ts';

/** What a pool hears of a connection that it asked for. */
export interface ConnectEvents {
  /** May take streams from now on. Comes once, or `onFailed` instead. */
  onReady(session: H2Session): void;
  onFailed(failure: BackendFailure): void;
  /** There may be more capacity than before. */
  onCapacity(session: H2Session): void;
  /** Takes no further stream. Comes once, after `onReady`; streams that are open may still end well. */
  onClosed(session: H2Session): void;
}

/** Dials and waits for the backend's SETTINGS, within `dialOptions.timeoutMs` in all; the function that it returns gives up. */
export function connectH2(target: DialTarget, dialOptions: DialOptions, sessionOptions: SessionOptions, events: ConnectEvents): () => void {
  const attempt = new Connecting(events);
  const { clock, timeoutMs } = dialOptions;
  const deadline = clock.now() + timeoutMs;
  const cancel = dial(target, dialOptions, {
    onConnected: (socket, inlet) => {
      attempt.session = new H2Session(socket, { ...sessionOptions, readyMs: Math.max(1, deadline - clock.now()) }, attempt, inlet);
    },
    onFailure: (failure) => events.onFailed(failure),
  });
  return () => {
    cancel();
    attempt.cancel();
  };
}

/** Turns a session's events into a pool's. */
class Connecting implements SessionEvents {
  session: H2Session | null = null;
  private readonly events: ConnectEvents;
  private ready = false;
  private cancelled = false;

  constructor(events: ConnectEvents) {
    this.events = events;
  }

  /** Gives up what has not become ready; a session that has is the pool's own. */
  cancel(): void {
    if (this.ready) return;
    this.cancelled = true;
    this.session?.destroy();
  }

  onReady(session: H2Session): void {
    this.ready = true;
    this.events.onReady(session);
  }

  onCapacity(session: H2Session): void {
    this.events.onCapacity(session);
  }

  onDraining(session: H2Session): void {
    if (this.ready) this.events.onClosed(session);
  }

  onClosed(_session: H2Session, failure: BackendFailure | null): void {
    if (this.ready || this.cancelled) return;
    this.events.onFailed(failure ?? { reason: 'backend_closed', unseen: false, detail: 'closed before its SETTINGS' });
  }
}
