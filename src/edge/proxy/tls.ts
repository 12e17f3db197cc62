import type { CertificatePart, ListenerPart, PartHash, TlsEntryPart } from '../../contract/snapshot/index.ts';
import type { TlsEntry, TlsId, TlsPair, TlsTable } from '../quic/engine.ts';
import { deriveTicketKeys } from '../quic/keys.ts';
import type { PartStore } from './parts.ts';
import type { Slices } from './slices.ts';

const ALPN: readonly string[] = ['h3'];

/** The pair is the same for as long as the part is: engines look into it once. */
interface Judged {
  readonly pair: TlsPair;
  readonly fault: string | null;
}

/** Ids are of the process: none is given twice, whatever it stood for. */
let lastId = 0;

/** What a listener can serve of its entries, and what it cannot. */
export interface Tls {
  readonly table: TlsTable;
  /** A line for each certificate that the engine does not take: it is left out, and the names that have no other are served by none. */
  readonly unfit: readonly string[];
}

interface Kept extends Tls {
  readonly key: string;
}

type Judge = (pair: TlsPair) => string | null;

/**
 * TLS tables of listeners. An entry is the same object, with the same id, for as long as its names, certificates and ticket keys are:
 * only then may the engine keep what it built for it.
 */
export class TlsTables {
  private readonly installationKey: Uint8Array;
  private readonly judge: Judge;
  private readonly entries = new Map<string, TlsEntry>();
  private readonly tables = new Map<string, Kept>();
  private readonly pairs = new WeakMap<CertificatePart, Judged>();

  constructor(installationKey: Uint8Array, judge: Judge) {
    this.installationKey = installationKey;
    this.judge = judge;
  }

  /** `period` moves on with time: ticket keys follow it. */
  async build(part: ListenerPart, parts: PartStore, period: number, slices: Slices): Promise<Tls> {
    const label = `${part.namespace}/${part.name}`;
    const key = JSON.stringify([part.tls, period]);
    const known = this.tables.get(label);
    if (known?.key === key) return known;
    const unfit = new Map<PartHash, string>();
    const entries: (TlsEntry | null)[] = [];
    for (const entry of part.tls.entries) {
      entries.push(this.entry(label, entry, parts, period, unfit));
      if (slices.due()) await slices.pause();
    }
    const made = { key, table: tableOf(part, entries), unfit: [...unfit.values()] };
    this.tables.set(label, made);
    return made;
  }

  /** Forgets private keys that no table uses any more. */
  sweep(used: readonly TlsTable[]): void {
    const live = new Set(used.flatMap((t) => t.entries));
    for (const [key, entry] of this.entries) if (!live.has(entry)) this.entries.delete(key);
    for (const [label, kept] of this.tables) if (!used.includes(kept.table)) this.tables.delete(label);
  }

  /** null: there is no certificate for it. */
  private entry(label: string, part: TlsEntryPart, parts: PartStore, period: number, unfit: Map<PartHash, string>): TlsEntry | null {
    const certs = this.fit(part.certificates, parts, unfit);
    if (certs.length === 0) return null;
    const names = [...part.names].sort();
    const key = JSON.stringify([label, names, part.certificates, period]);
    const known = this.entries.get(key);
    if (known !== undefined) return known;
    // By names, not by certificate: a renewed certificate goes on accepting the tickets of its predecessor.
    const policy = { group: JSON.stringify([label, names]), clientAuth: 'none', ca: null, earlyData: false } as const;
    const made: TlsEntry = {
      id: ++lastId as TlsId,
      certs,
      clientAuth: 'none',
      alpn: ALPN,
      earlyData: false,
      ticketKeys: deriveTicketKeys(this.installationKey, policy, period),
    };
    this.entries.set(key, made);
    return made;
  }

  private fit(certificates: readonly PartHash[], parts: PartStore, unfit: Map<PartHash, string>): TlsPair[] {
    return certificates.flatMap((hash) => {
      const part = parts.get(hash, 'certificate');
      const { pair, fault } = this.judged(part);
      if (fault === null) return [pair];
      unfit.set(hash, `${part.source}: ${fault}`);
      return [];
    });
  }

  private judged(part: CertificatePart): Judged {
    let known = this.pairs.get(part);
    if (known === undefined) {
      const pair = { cert: Buffer.from(part.cert, 'latin1'), key: part.key.reveal() };
      this.pairs.set(part, (known = { pair, fault: this.judge(pair) }));
    }
    return known;
  }
}

function tableOf(part: ListenerPart, made: readonly (TlsEntry | null)[]): TlsTable {
  const names = new Map<string, TlsId>();
  part.tls.entries.forEach((e, i) => {
    const id = made[i]?.id;
    if (id !== undefined) for (const name of e.names) names.set(name, id);
  });
  const fallback = part.tls.fallback === null ? null : (made[part.tls.fallback]?.id ?? null);
  return { entries: made.filter((e) => e !== null), names, fallback };
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
