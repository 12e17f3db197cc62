import type { Cells, Row } from '../../contract/cells.ts';
import type { Balancing, GroupPart, PartHash } from '../../contract/snapshot/parts.ts';
import { makeBalancer, type Balancer, type Weighted } from './balance/index.ts';
import type { Endpoint } from './endpoint.ts';

const POLITE = 4;

export interface Member {
  readonly endpoint: Endpoint;
  readonly weight: number;
  readonly healthy: boolean;
  readonly draining: boolean;
}

/** The endpoints of one backend group under one policy. Which of them may be picked is decided when the list changes, never per request. */
export class Group {
  readonly part: GroupPart;
  /** Of the part; null where nobody goes by it. */
  readonly hash: PartHash | null;
  readonly balancing: Balancing;
  members: readonly Member[] = [];
  private balancer: Balancer<Endpoint> | null = null;
  /** Of second attempts; made for the first of them. */
  private spare: Balancer<Endpoint> | null = null;
  private usable: readonly Member[] = [];
  private panic = false;
  private readonly random: () => number;
  private readonly cells: Cells;
  private readonly panicRow: Row;

  constructor(part: GroupPart, hash: PartHash | null, balancing: Balancing, random: () => number, cells: Cells, upstream: string) {
    this.part = part;
    this.hash = hash;
    this.balancing = balancing;
    this.random = random;
    this.cells = cells;
    this.panicRow = cells.row('panic_total', upstream);
  }

  get empty(): boolean {
    return this.balancer === null;
  }

  /** `hash` is the uint32 of the balancing key; only consistent hashing looks at it. */
  choose(hash: number): Endpoint | null {
    if (this.balancer === null) return null;
    if (this.panic) this.cells.add(this.panicRow, 1);
    return this.balancer.pick(hash);
  }

  /**
   * Another one than `tried`; the same only when there is no other. The policy is asked a few times: by weight, it may hardly know the others. Where it
   * goes by turns, chance stands in: a second attempt that took the next turn would leave an endpoint that refuses to be the first of every request.
   */
  elsewhere(tried: Endpoint, hash: number): Endpoint | null {
    if (this.balancer === null) return null;
    if (this.panic) this.cells.add(this.panicRow, 1);
    this.spare ??= this.balancing.type === 'RoundRobin' ? makeBalancer('Random', weighted(this.usable), this.random) : this.balancer;
    for (let i = 0; i < POLITE; i++) {
      const endpoint = this.spare.pick((hash + i * 0x9e3779b9) >>> 0);
      if (endpoint !== tried) return endpoint;
    }
    return this.usable.find((m) => m.endpoint !== tried)?.endpoint ?? tried;
  }

  hasOther(tried: Endpoint): boolean {
    return this.usable.some((m) => m.endpoint !== tried);
  }

  /** Healthy ones that do not drain; all that do not drain when none is healthy (panic); draining ones only when nothing else is left. */
  setMembers(members: readonly Member[]): void {
    this.members = members;
    const serving = members.filter((m) => !m.draining);
    const candidates = serving.length > 0 ? serving : members;
    const healthy = candidates.filter((m) => m.healthy);
    this.panic = healthy.length === 0 && candidates.length > 0;
    this.usable = this.panic ? candidates : healthy;
    this.balancer = this.usable.length === 0 ? null : makeBalancer(this.balancing.type, weighted(this.usable), this.random);
    this.spare = null;
  }
}

const weighted = (members: readonly Member[]): Weighted<Endpoint>[] =>
  members.map(({ endpoint, weight }) => ({ item: endpoint, weight, identity: `${endpoint.address} ${endpoint.port}` }));
