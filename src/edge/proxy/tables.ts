/**
 * Tables of routes, made out of those before: pages that are gone are taken out, pages that came are put in, in slices, and nothing that serves is touched.
 * What a page of the old table led to is let go once the new one serves.
 */
import { PatternCache } from '../../contract/routes/conditions.ts';
import { RouteTable, TableBuilder, TableRoute } from '../../contract/routes/table.ts';
import type { ListenerPart, PartHash } from '../../contract/snapshot/index.ts';
import type { PartStore } from './parts.ts';
import type { Slices } from './slices.ts';
import type { Upstreams } from './upstreams.ts';
import type { Destination } from './view.ts';

/** Compiled patterns that are kept; beyond, those of pages that have changed are compiled anew. */
const MAX_PATTERNS = 10_000;

interface Page {
  readonly hostname: string;
  readonly routes: readonly TableRoute<Destination>[];
}

/** A page of host parts and its routes, with what they lead to taken. */
type Pages = Map<PartHash, Page>;

interface Kept {
  readonly table: RouteTable<Destination>;
  readonly hosts: readonly PartHash[];
}

interface Next extends Kept {
  readonly came: Pages;
  readonly gone: readonly PartHash[];
}

/** The tables of a worker's listeners: of what serves, and of what was built and may serve next. */
export class Tables {
  private readonly parts: PartStore;
  private readonly upstreams: Upstreams;
  private readonly serving = new Map<string, Kept>();
  private readonly pages = new Map<string, Pages>();
  private readonly next = new Map<string, Next>();
  private patterns = new PatternCache();

  constructor(parts: PartStore, upstreams: Upstreams) {
    this.parts = parts;
    this.upstreams = upstreams;
  }

  /** Throws when a part is missing or cannot be built. */
  async build(label: string, { hosts }: ListenerPart, slices: Slices): Promise<RouteTable<Destination>> {
    const before = this.serving.get(label);
    if (before !== undefined && sameList(before.hosts, hosts)) return before.table;
    const wanted = new Set(hosts);
    const known = this.pages.get(label);
    const gone = before === undefined ? [] : before.hosts.filter((hash) => !wanted.has(hash));
    const came: Pages = new Map();
    if (this.patterns.size > MAX_PATTERNS) this.patterns = new PatternCache();
    try {
      const builder = new TableBuilder<Destination>(before?.table ?? RouteTable.empty());
      for (const hash of gone) await put(builder, known?.get(hash) as Page, false, slices);
      for (const hash of wanted) {
        if (known?.has(hash)) continue;
        const page = await this.page(label, hash, slices);
        came.set(hash, page);
        await put(builder, page, true, slices);
      }
      const table = builder.finish();
      this.next.set(label, { table, hosts, came, gone });
      return table;
    } catch (e) {
      for (const page of came.values()) for (const route of page.routes) this.upstreams.give(label, route.part.target);
      throw e;
    }
  }

  /** What was built serves; of listeners that are not among these, nothing does. */
  commit(labels: ReadonlySet<string>): Letting {
    const left: [string, Page][] = [];
    for (const [label, { table, hosts, came, gone }] of this.next) {
      let pages = this.pages.get(label);
      if (pages === undefined) this.pages.set(label, (pages = new Map()));
      for (const hash of gone) {
        left.push([label, pages.get(hash) as Page]);
        pages.delete(hash);
      }
      for (const [hash, page] of came) pages.set(hash, page);
      this.serving.set(label, { table, hosts });
    }
    this.next.clear();
    for (const [label, pages] of this.pages) {
      if (labels.has(label)) continue;
      for (const page of pages.values()) left.push([label, page]);
      this.pages.delete(label);
      this.serving.delete(label);
    }
    return new Letting(this.upstreams, left);
  }

  /** What was built will not serve. */
  abandon(): Letting {
    const left: [string, Page][] = [];
    for (const [label, { came }] of this.next) for (const page of came.values()) left.push([label, page]);
    this.next.clear();
    return new Letting(this.upstreams, left);
  }

  private async page(label: string, hash: PartHash, slices: Slices): Promise<Page> {
    const { hostname, routes } = this.parts.get(hash, 'host');
    const made: TableRoute<Destination>[] = [];
    try {
      for (const route of routes) {
        const destination = this.upstreams.take(label, route.target);
        try {
          made.push(new TableRoute(destination, route, this.patterns));
        } catch (e) {
          this.upstreams.give(label, route.target);
          throw e;
        }
        if (slices.due()) await slices.pause();
      }
    } catch (e) {
      for (const route of made) this.upstreams.give(label, route.part.target);
      throw e;
    }
    return { hostname, routes: made };
  }
}

/** Thousands of pools and rows of counters are let go in slices, too. */
export class Letting {
  private readonly upstreams: Upstreams;
  private readonly left: readonly (readonly [string, Page])[];

  constructor(upstreams: Upstreams, left: readonly (readonly [string, Page])[]) {
    this.upstreams = upstreams;
    this.left = left;
  }

  async run(slices: Slices): Promise<void> {
    for (const [label, { routes }] of this.left) {
      for (const { part } of routes) {
        this.upstreams.give(label, part.target);
        if (slices.due()) await slices.pause();
      }
    }
  }
}

async function put(builder: TableBuilder<Destination>, page: Page, there: boolean, slices: Slices): Promise<void> {
  for (const route of page.routes) {
    if (there) builder.add(page.hostname, route);
    else builder.remove(page.hostname, route);
    if (slices.due()) await slices.pause();
  }
}

const sameList = (a: readonly PartHash[], b: readonly PartHash[]): boolean => a.length === b.length && a.every((hash, i) => hash === b[i]);
