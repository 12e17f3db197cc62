import type { CertificatePart, ListenerPart, PartHash, TlsEntryPart } from '../../contract/snapshot/index.ts';
import type { TlsEntry, TlsId, TlsTable } from '../quic/engine.ts';
import { deriveTicketKeys } from '../quic/keys.ts';
import type { PartStore } from './parts.ts';
import type { Slices } from './slices.ts';

const ALPN: readonly string[] = ['h3'];

/** Ids are of the process: none is given twice, whatever it stood for. */
let lastId = 0;

interface Kept {
  readonly key: string;
  readonly table: TlsTable;
}

/**
 * TLS tables of listeners. An entry is the same object, with the same id, for as long as its names, certificates and ticket keys are:
 * only then may the engine keep what it built for it.
 */
export class TlsTables {
  private readonly installationKey: Uint8Array;
  private readonly entries = new Map<string, TlsEntry>();
  private readonly tables = new Map<string, Kept>();

  constructor(installationKey: Uint8Array) {
    this.installationKey = installationKey;
  }

  /** `period` moves on with time: ticket keys follow it. */
  async build(part: ListenerPart, parts: PartStore, period: number, slices: Slices): Promise<TlsTable> {
    const { label, key, known } = this.known(part, period);
    if (known !== null) return known;
    const entries: TlsEntry[] = [];
    for (const entry of part.tls.entries) {
      entries.push(this.entry(label, entry, parts, period));
      if (slices.due()) await slices.pause();
    }
    return this.put(label, key, part, entries);
  }

  private known(part: ListenerPart, period: number): { readonly label: string; readonly key: string; readonly known: TlsTable | null } {
    const label = `${part.namespace}/${part.name}`;
    const key = JSON.stringify([part.tls, period]);
    const kept = this.tables.get(label);
    return { label, key, known: kept !== undefined && kept.key === key ? kept.table : null };
  }

  private put(label: string, key: string, part: ListenerPart, entries: readonly TlsEntry[]): TlsTable {
    const names = new Map<string, TlsId>();
    part.tls.entries.forEach((e, i) => {
      for (const name of e.names) names.set(name, (entries[i] as TlsEntry).id);
    });
    const fallback = part.tls.fallback === null ? null : (entries[part.tls.fallback] as TlsEntry).id;
    const table: TlsTable = { entries, names, fallback };
    this.tables.set(label, { key, table });
    return table;
  }

  /** Forgets private keys that no table uses any more. */
  sweep(used: readonly TlsTable[]): void {
    const live = new Set(used.flatMap((t) => t.entries));
    for (const [key, entry] of this.entries) if (!live.has(entry)) this.entries.delete(key);
    for (const [label, kept] of this.tables) if (!used.includes(kept.table)) this.tables.delete(label);
  }

  private entry(label: string, part: TlsEntryPart, parts: PartStore, period: number): TlsEntry {
    const names = [...part.names].sort();
    const key = JSON.stringify([label, names, part.certificates, period]);
    const known = this.entries.get(key);
    if (known !== undefined) return known;
    // By names, not by certificate: a renewed certificate goes on accepting the tickets of its predecessor.
    const policy = { group: JSON.stringify([label, names]), clientAuth: 'none', ca: null, earlyData: false } as const;
    const made: TlsEntry = {
      id: ++lastId as TlsId,
      certs: part.certificates.map((hash) => pair(hash, parts)),
      clientAuth: 'none',
      alpn: ALPN,
      earlyData: false,
      ticketKeys: deriveTicketKeys(this.installationKey, policy, period),
    };
    this.entries.set(key, made);
    return made;
  }
}

/** New entries that an engine is given at once: of a thousand these cost it about what looking through the others does. */
const STEP = 100;

/** From a table to the same one with new ticket keys, in steps that take an engine a few milliseconds each. */
export function* renewal(before: TlsTable, after: TlsTable): Generator<TlsTable> {
  const count = after.entries.length;
  if (before.entries.length === count) for (let at = STEP; at < count; at += STEP) yield between(before, after, at);
  yield after;
}

/** The first entries are the new ones. */
function between(before: TlsTable, after: TlsTable, at: number): TlsTable {
  const entries = [...after.entries.slice(0, at), ...before.entries.slice(at)];
  const ids = new Map(after.entries.map((e, i) => [e.id, (entries[i] as TlsEntry).id]));
  const of = (id: TlsId): TlsId => ids.get(id) as TlsId;
  const names = new Map<string, TlsId>();
  for (const [name, id] of after.names) names.set(name, of(id));
  return { entries, names, fallback: after.fallback === null ? null : of(after.fallback) };
}

type Pair = TlsEntry['certs'][number];

/** The same for as long as the part is: engines look into it once. */
const pairs = new WeakMap<CertificatePart, Pair>();

function pair(hash: PartHash, parts: PartStore): Pair {
  const part = parts.get(hash, 'certificate');
  let made = pairs.get(part);
  if (made === undefined) pairs.set(part, (made = { cert: Buffer.from(part.cert, 'latin1'), key: part.key.reveal() }));
  return made;
}
