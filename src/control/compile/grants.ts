/** What ReferenceGrants open: an index by the namespace that grants, made where it is asked for. */
import type { Grant } from '../../contract/resources/index.ts';

/** Who refers, and to what: a grant for another kind opens nothing. */
const TARGETS = { Listener: 'Secret', Upstream: 'Service' } as const;

export type Referrer = keyof typeof TARGETS;

/** By namespace of the referrers: names, '' for all. */
type Opened = ReadonlyMap<string, ReadonlySet<string>>;

export class Grants {
  private readonly grants = new Map<string, Grant[]>();
  private readonly opened: Readonly<Record<Referrer, Map<string, Opened>>> = { Listener: new Map(), Upstream: new Map() };

  constructor(grants: readonly Grant[]) {
    for (const grant of grants) {
      const there = this.grants.get(grant.namespace);
      if (there === undefined) this.grants.set(grant.namespace, [grant]);
      else there.push(grant);
    }
  }

  /** Whether a Listener or Upstream of `from` may use the Secret or Service. */
  permits(kind: Referrer, from: string, namespace: string, name: string): boolean {
    const names = this.of(kind, namespace).get(from);
    return names !== undefined && (names.has('') || names.has(name));
  }

  private of(kind: Referrer, namespace: string): Opened {
    const known = this.opened[kind].get(namespace);
    if (known !== undefined) return known;
    const opened = new Map<string, Set<string>>();
    for (const grant of this.grants.get(namespace) ?? []) {
      const names = grant.to.filter((to) => to.group === '' && to.kind === TARGETS[kind]).map((to) => to.name);
      if (names.length === 0) continue;
      for (const from of grant.from) {
        if (from.kind !== kind) continue;
        let there = opened.get(from.namespace);
        if (there === undefined) opened.set(from.namespace, (there = new Set()));
        for (const name of names) there.add(name);
      }
    }
    this.opened[kind].set(namespace, opened);
    return opened;
  }
}
