import type { TlsId, TlsTable } from '../quic/engine.ts';
import { pickTls } from '../quic/sni.ts';

/** What a TLS table says of names, without its keys: connections keep it for as long as they last. */
export class NameTable {
  readonly table: TlsTable;
  private readonly ids: ReadonlySet<TlsId>;

  constructor(table: TlsTable) {
    this.table = { entries: [], names: table.names, fallback: table.fallback };
    this.ids = new Set(table.entries.map((e) => e.id));
  }

  has(id: TlsId): boolean {
    return this.ids.has(id);
  }
}

/**
 * Whether a connection may be asked for a host (RFC 9110 s7.4): its TLS entry must be the one that the host's name would have been given.
 * Judged by the table that the connection was made under, so that a renewed certificate does not turn away connections that are open.
 */
export class Misdirection {
  private readonly table: TlsTable | null;
  private readonly id: TlsId;
  private readonly exempt: boolean;

  /** `names` null: made under a table that is long gone. Refuses everything: the client comes back with a new connection. */
  constructor(names: NameTable | null, id: TlsId, sni: string | null) {
    const table = names === null ? null : names.table;
    this.table = table;
    this.id = id;
    this.exempt = table !== null && table.fallback === id && !isNamed(table, sni);
  }

  refuses(host: string): boolean {
    return !this.exempt && (this.table === null || pickTls(this.table, host) !== this.id);
  }
}

/** Whether some certificate covers the name, whatever the fallback is. */
function isNamed(table: TlsTable, sni: string | null): boolean {
  return sni !== null && sni !== '' && pickTls({ ...table, fallback: null }, sni) !== null;
}
