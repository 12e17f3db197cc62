/**
 * Who has which hostname and match of a listener, and the routes that come of it. It outlives compiles: whoever comes or goes concerns the hostnames that it
 * has, and no others.
 */
import { compareRoutes } from '../../contract/routes/rank.ts';
import type { HostPart, PartHash, RoutePart } from '../../contract/snapshot/index.ts';
import type { PartBook } from './book.ts';
import type { Attachment } from './draft.ts';
import type { Memo } from './memo.ts';
import { byAge } from './order.ts';

/** Routes of a host part, about: a hostname with thousands of them is cut into pages, so that a change of one does not send all. */
const PAGE_ROUTES = 64;

/** A function of the count alone: what came before must not show. */
function pagesFor(routes: number): number {
  let pages = 1;
  while (pages * PAGE_ROUTES * 2 < routes) pages *= 2;
  return pages;
}

class Page {
  readonly routes = new Map<Attachment, readonly RoutePart[]>();
  hash: PartHash | null = null;
  changed = true;
}

class Host {
  readonly hostname: string;
  pages: Page[] = [new Page()];
  count = 0;
  changed = true;

  constructor(hostname: string) {
    this.hostname = hostname;
  }

  set(attachment: Attachment, routes: readonly RoutePart[]): void {
    const page = this.pageOf(attachment);
    this.count += routes.length - (page.routes.get(attachment)?.length ?? 0);
    if (routes.length === 0) page.routes.delete(attachment);
    else page.routes.set(attachment, routes);
    page.changed = true;
    this.changed = true;
  }

  private pageOf({ upstream }: Attachment): Page {
    return this.pages[upstream.number & (this.pages.length - 1)] as Page;
  }

  /** Brings the pages up to date; old hashes are let go. */
  encode(memo: Memo, book: PartBook): void {
    if (pagesFor(this.count) !== this.pages.length) this.cut(book);
    for (const page of this.pages) {
      if (!page.changed) continue;
      const before = page.hash;
      page.hash = page.routes.size === 0 ? null : book.use(memo, this.partOf(memo, page));
      if (before !== null) book.release([before]);
      page.changed = false;
    }
    this.changed = false;
  }

  letGo(book: PartBook): void {
    for (const page of this.pages) if (page.hash !== null) book.release([page.hash]);
  }

  private cut(book: PartBook): void {
    const all = this.pages.flatMap((page) => [...page.routes]);
    this.letGo(book);
    this.pages = Array.from({ length: pagesFor(this.count) }, () => new Page());
    for (const [attachment, routes] of all) this.pageOf(attachment).routes.set(attachment, routes);
  }

  private partOf(memo: Memo, page: Page): HostPart {
    const routes = [...page.routes.values()].flat().sort(compareRoutes);
    const { hostname } = this;
    // Of most Listeners the same, and encoded once for all of them.
    return memo.slot(routes[0] as RoutePart, `host ${hostname}`, routes, (): HostPart => ({ kind: 'host', hostname, routes }));
  }
}

interface Change {
  readonly gone: Set<Attachment>;
  readonly came: Attachment[];
}

export class Claims {
  /** By hostname as Upstreams have it: oldest first. */
  private readonly claimants = new Map<string, Attachment[]>();
  private readonly touched = new Map<string, Change>();
  /** By hostname as the listener has it. */
  private readonly hosts = new Map<string, Host>();
  private readonly placed = new Map<Attachment, readonly string[]>();
  private readonly emptied: Host[] = [];
  private order: readonly Host[] = [];
  private hashes: readonly PartHash[] = [];

  enter(attachment: Attachment): void {
    for (const { hostname } of attachment.hosts) this.changeOf(hostname).came.push(attachment);
  }

  leave(attachment: Attachment): void {
    for (const { hostname } of attachment.hosts) this.changeOf(hostname).gone.add(attachment);
  }

  /** Of two that want the same the older has it. Adds to `concerned` whoever has gained or lost something. */
  settle(concerned: Set<Attachment>): void {
    for (const [hostname, { gone, came }] of this.touched) {
      let list = this.claimants.get(hostname) ?? [];
      if (gone.size > 0) list = list.filter((a) => !gone.has(a));
      if (came.length > 0) list = [...list, ...came].sort((a, b) => byAge(a.upstream.resource, b.upstream.resource));
      if (list.length === 0) this.claimants.delete(hostname);
      else this.claimants.set(hostname, list);
      settleHost(hostname, list, concerned);
    }
    this.touched.clear();
  }

  /** Lays down which routes the attachment has: by hostname of the listener. */
  place(attachment: Attachment, routes: ReadonlyMap<string, readonly RoutePart[]>): void {
    for (const hostname of this.placed.get(attachment) ?? []) if (!routes.has(hostname)) this.route(attachment, hostname, []);
    for (const [hostname, list] of routes) this.route(attachment, hostname, list);
    if (routes.size === 0) this.placed.delete(attachment);
    else this.placed.set(attachment, [...routes.keys()]);
  }

  /** Every hostname that is served. */
  hostnames(): Iterable<string> {
    return this.hosts.keys();
  }

  /** The host parts, by hostname: the very same list while none has changed. */
  parts(memo: Memo, book: PartBook): readonly PartHash[] {
    let changed = this.emptied.length > 0;
    for (const host of this.emptied) host.letGo(book);
    this.emptied.length = 0;
    for (const host of this.hosts.values()) {
      if (!host.changed) continue;
      changed = true;
      host.encode(memo, book);
    }
    if (!changed) return this.hashes;
    if (this.order.length !== this.hosts.size || this.order.some((host) => this.hosts.get(host.hostname) !== host))
      this.order = [...this.hosts.values()].sort((a, b) => (a.hostname < b.hostname ? -1 : 1));
    const hashes: PartHash[] = [];
    for (const host of this.order) for (const { hash } of host.pages) if (hash !== null) hashes.push(hash);
    return (this.hashes = hashes);
  }

  /** The listener is gone. */
  letGo(book: PartBook): void {
    for (const host of [...this.hosts.values(), ...this.emptied]) host.letGo(book);
  }

  private route(attachment: Attachment, hostname: string, routes: readonly RoutePart[]): void {
    let host = this.hosts.get(hostname);
    if (host === undefined) this.hosts.set(hostname, (host = new Host(hostname)));
    host.set(attachment, routes);
    if (host.count > 0) return;
    this.hosts.delete(hostname);
    this.emptied.push(host);
  }

  private changeOf(hostname: string): Change {
    let change = this.touched.get(hostname);
    if (change === undefined) this.touched.set(hostname, (change = { gone: new Set(), came: [] }));
    return change;
  }
}

function settleHost(hostname: string, list: readonly Attachment[], concerned: Set<Attachment>): void {
  for (const attachment of list) {
    if (attachment.losses === null || !attachment.losses.delete(hostname)) continue;
    if (attachment.losses.size === 0) attachment.losses = null;
    concerned.add(attachment);
  }
  // The matches of one Upstream are apart from each other.
  if (list.length <= 1) return;
  const holders = new Map<string, Attachment>();
  for (const attachment of list) {
    let lost: Map<number, Attachment> | null = null;
    attachment.upstream.facts.matches.forEach(({ identity }, i) => {
      const holder = holders.get(identity);
      if (holder === undefined) holders.set(identity, attachment);
      else (lost ??= new Map()).set(i, holder);
    });
    if (lost === null) continue;
    (attachment.losses ??= new Map()).set(hostname, lost);
    concerned.add(attachment);
  }
}
