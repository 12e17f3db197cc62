/** Names in `addresses`, resolved again whenever their answer has expired. A failure keeps the last answer. */
import { ADDRCONFIG } from 'node:dns';
import { lookup, Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Clock } from '../../lib/clock.ts';

export const MIN_TTL_MS = 1000;
export const MAX_TTL_MS = 300_000;
const RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;
/** Of one name: what a hostile or broken zone can make us hold. */
export const MAX_ADDRESSES = 64;
/** Names whose families are remembered; more begin anew. */
const MAX_NAMES = 20_000;
/** What the hosts file says has no time to live. */
const HOSTS_TTL = 30;

export interface Answer {
  readonly address: string;
  /** Seconds. */
  readonly ttl: number;
}

/** All addresses of both families; rejects when nothing can be said. */
export type Resolve = (name: string) => Promise<readonly Answer[]>;

const NEGATIVE = new Set(['ENOTFOUND', 'ENODATA', 'ECONNREFUSED', 'EBADNAME']);
const codeOf = (e: unknown): string => (typeof e === 'object' && e !== null && 'code' in e ? String(e.code) : 'unknown');

/**
 * What each family of a name answered last: while one of the two cannot be asked, the other's answer alone would look as if
 * half of the endpoints were gone.
 */
export class FamilyMemory {
  private readonly last = new Map<string, readonly (readonly Answer[])[]>();

  /** `asked`: A, then AAAA. */
  complete(name: string, asked: readonly PromiseSettledResult<readonly Answer[]>[]): Answer[] {
    const before = this.last.get(name);
    const now = asked.map((a, i): readonly Answer[] => {
      if (a.status === 'fulfilled') return a.value;
      return NEGATIVE.has(codeOf(a.reason)) ? [] : (before?.[i] ?? []);
    });
    if (this.last.size >= MAX_NAMES) this.last.clear();
    this.last.set(name, now);
    return now.flat();
  }
}

/** DNS by TTL first; the system's resolver (hosts file, search domains) for names that DNS itself does not know. */
export const systemResolve = (servers: readonly string[] | null = null): Resolve => {
  const resolver = new Resolver({ timeout: 2000, tries: 2 });
  const families = new FamilyMemory();
  if (servers !== null) resolver.setServers(servers);
  return async (name) => {
    const asked = await Promise.allSettled([resolver.resolve4(name, { ttl: true }), resolver.resolve6(name, { ttl: true })]);
    const answers = asked.flatMap((a) => (a.status === 'fulfilled' ? a.value : []));
    if (answers.length > 0) return families.complete(name, asked);
    const failed = asked.flatMap((a) => (a.status === 'rejected' ? [a.reason as unknown] : []));
    const serious = failed.find((e) => !NEGATIVE.has(codeOf(e)));
    if (serious !== undefined) throw serious;
    const found = await lookup(name, { all: true, hints: ADDRCONFIG });
    return found.map((f) => ({ address: f.address, ttl: HOSTS_TTL }));
  };
};

export interface NameState {
  readonly name: string;
  readonly addresses: readonly string[];
  /** Of the last attempt; '' when it succeeded. */
  readonly error: string;
  readonly resolved: boolean;
}

class Name {
  readonly name: string;
  addresses: readonly string[] = [];
  error = '';
  /** An attempt has ended, well or not. */
  tried = false;
  resolved = false;
  failures = 0;
  cancel: (() => void) | null = null;
  gone = false;

  constructor(name: string) {
    this.name = name;
  }
}

export interface DnsOptions {
  readonly clock: Clock;
  readonly resolve: Resolve;
  /** In [0, 1). */
  readonly random: () => number;
  readonly onChange: (name: string) => void;
  readonly onFailure: (name: string, error: string) => void;
}

export class Dns {
  private readonly o: DnsOptions;
  private readonly names = new Map<string, Name>();
  private waiting: (() => void)[] = [];

  constructor(o: DnsOptions) {
    this.o = o;
  }

  /** The names that matter from now on; others are forgotten. IP literals are not names. */
  watch(names: ReadonlySet<string>): void {
    for (const [key, name] of this.names) {
      if (names.has(key)) continue;
      name.gone = true;
      name.cancel?.();
      this.names.delete(key);
    }
    for (const key of names) {
      if (isIP(key) !== 0 || this.names.has(key)) continue;
      const name = new Name(key);
      this.names.set(key, name);
      void this.attempt(name);
    }
    this.wake();
  }

  /** Sorted, so that the order of an answer (which servers rotate) is no change. */
  addresses(name: string): readonly string[] {
    return isIP(name) !== 0 ? [name] : (this.names.get(name)?.addresses ?? []);
  }

  states(): NameState[] {
    return [...this.names.values()].map((n) => ({ name: n.name, addresses: n.addresses, error: n.error, resolved: n.resolved }));
  }

  /** Resolves when every name has been tried once, at the latest after `ms`. */
  settled(ms: number): Promise<void> {
    if (this.allTried()) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.o.clock.after(ms, resolve);
      this.waiting.push(() => {
        cancel();
        resolve();
      });
    });
  }

  stop(): void {
    this.watch(new Set());
  }

  private allTried(): boolean {
    for (const name of this.names.values()) if (!name.tried) return false;
    return true;
  }

  private wake(): void {
    if (!this.allTried()) return;
    for (const fn of this.waiting.splice(0)) fn();
  }

  private async attempt(name: Name): Promise<void> {
    let nextMs: number;
    try {
      const answers = await this.ask(name.name);
      if (name.gone) return;
      nextMs = this.succeeded(name, answers);
    } catch (e) {
      if (name.gone) return;
      nextMs = this.failed(name, e);
    }
    name.tried = true;
    // Up to a tenth early: a hundred names of one zone do not ask in one breath.
    name.cancel = this.o.clock.after(nextMs * (1 - this.o.random() / 10), () => void this.attempt(name));
    this.wake();
  }

  private ask(name: string): Promise<readonly Answer[]> {
    // RFC 6761 s6.3: never sent to a server.
    if (name === 'localhost' || name.endsWith('.localhost')) {
      // One family: most servers listen on one, and half of the requests would find nobody on the other.
      return Promise.resolve([{ address: '127.0.0.1', ttl: 300 }]);
    }
    return this.o.resolve(name);
  }

  private succeeded(name: Name, answers: readonly Answer[]): number {
    if (answers.length === 0) throw new Error('no addresses');
    const addresses = [...new Set(answers.map((a) => a.address))].sort().slice(0, MAX_ADDRESSES);
    const changed = addresses.join() !== name.addresses.join();
    name.addresses = addresses;
    name.error = '';
    name.resolved = true;
    name.failures = 0;
    if (changed) this.o.onChange(name.name);
    const ttl = answers.reduce((least, a) => Math.min(least, a.ttl), Infinity) * 1000;
    return Math.min(Math.max(ttl, MIN_TTL_MS), MAX_TTL_MS);
  }

  private failed(name: Name, e: unknown): number {
    name.error = codeOf(e) === 'unknown' && e instanceof Error ? e.message : codeOf(e);
    const pause = Math.min(RETRY_MS * 2 ** name.failures, MAX_RETRY_MS);
    name.failures++;
    this.o.onFailure(name.name, name.error);
    return pause;
  }
}
