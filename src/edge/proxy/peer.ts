import { normaliseAuthority } from '../../contract/routes/host.ts';
import type { ServerConnection } from '../http/message.ts';
import { elementFor, elementTail } from './forwarded.ts';
import type { Misdirection } from './misdirected.ts';
import type { ListenerView } from './view.ts';

/**
 * What is known of one client connection, and what follows from the last authority that it asked for: most connections ask for one,
 * so everything that depends on it is computed once per connection and snapshot, not per request.
 */
export class Peer {
  readonly connection: ServerConnection;
  readonly misdirection: Misdirection;
  /** A path change moves it: `look` follows. */
  address = '';
  trusted = false;
  /** `for="[2001:db8::1]"`: the beginning of our element of `forwarded`. */
  private element = '';

  private view: ListenerView | null = null;
  private raw: string | null = null;
  /** Normalised, with its port; '' when it is refused. */
  authority = '';
  host = '';
  misdirected = false;
  /** Our whole element of `forwarded` (RFC 7239). */
  forwarded = '';

  constructor(connection: ServerConnection, misdirection: Misdirection) {
    this.connection = connection;
    this.misdirection = misdirection;
  }

  /** Brings everything above up to date for a request. */
  look(view: ListenerView, authority: string): void {
    const moved = this.connection.remoteAddress !== this.address;
    if (!moved && view === this.view && authority === this.raw) return;
    if (moved || view !== this.view) this.place(view);
    this.resolve(authority);
  }

  private place(view: ListenerView): void {
    this.view = view;
    this.address = this.connection.remoteAddress;
    this.trusted = view.trust.has(this.address);
    this.element = elementFor(this.address);
  }

  private resolve(raw: string): void {
    this.raw = raw;
    const parsed = normaliseAuthority(raw);
    if (parsed === null) {
      this.authority = '';
      this.host = '';
      return;
    }
    this.host = parsed.host;
    this.authority = parsed.port < 0 ? parsed.host : `${parsed.host}:${parsed.port}`;
    this.misdirected = this.misdirection.refuses(parsed.host);
    this.forwarded = this.element + elementTail(this.authority);
  }
}
