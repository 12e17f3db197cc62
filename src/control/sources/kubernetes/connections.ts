/** Connections to the API server, kept alive: some for requests, and one for each watch. All of a set share what they trust and who they are. */
import { Agent } from 'node:https';
import type { Access } from './access.ts';

/** Also what TCP waits in silence before it asks whether the peer is still there. */
const KEEP_ALIVE_MS = 15_000;
const MAX_REQUESTS = 64;

export interface Lease {
  readonly agent: Agent;
  /** Once. */
  release(): void;
}

class Trust {
  readonly identity: string;
  readonly requests: Agent;
  readonly watches: Agent;
  private users = 0;
  private retired = false;

  constructor({ identity, tls }: Access) {
    this.identity = identity;
    this.requests = new Agent({ keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, maxSockets: MAX_REQUESTS, ...tls });
    this.watches = new Agent({ keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS, ...tls });
  }

  lease(agent: Agent): Lease {
    this.users++;
    return {
      agent,
      release: () => {
        this.users--;
        this.tidy();
      },
    };
  }

  /** Takes no more requests; those that run end in their own time. */
  retire(): void {
    this.retired = true;
    this.tidy();
  }

  destroy(): void {
    this.requests.destroy();
    this.watches.destroy();
  }

  private tidy(): void {
    if (this.retired && this.users === 0) this.destroy();
  }
}

export class Connections {
  private current: Trust | null = null;

  lease(access: Access, use: 'requests' | 'watches'): Lease {
    if (this.current?.identity !== access.identity) {
      this.current?.retire();
      this.current = new Trust(access);
    }
    return this.current.lease(this.current[use]);
  }

  close(): void {
    this.current?.destroy();
    this.current = null;
  }
}
