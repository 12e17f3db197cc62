import type { Cells, Row } from '../../contract/cells.ts';
import type { Balancing, GroupPart } from '../../contract/snapshot/parts.ts';
import { makeBalancer, type Balancer } from './balance/index.ts';
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
  readonly balancing: Balancing;
  members: readonly Member[] = [];
  private balancer: Balancer<Endpoint> | null = null;
  private usable: readonly Endpoint[] = [];
  private panic = false;
  private readonly random: () => number;
  private readonly cells: Cells;
  private readonly panicRow: Row;

  constructor(part: GroupPart, balancing: Balancing, random: () => number, cells: Cells, upstream: string) {
    this.part = part;
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

  /** Another one than `tried`; the same only when there is no other. The policy is asked a few times: by weight, it may hardly know the others. */
  elsewhere(tried: Endpoint, hash: number): Endpoint | null {
    for (let i = 0; i < POLITE; i++) {
      const endpoint = this.choose((hash + i * 0x9e3779b9) >>> 0);
      if (endpoint !== tried) return endpoint;
    }
    return this.usable.find((e) => e !== tried) ?? tried;
  }

  /** Healthy ones that do not drain; all that do not drain when none is healthy (panic); draining ones only when nothing else is left. */
  setMembers(members: readonly Member[]): void {
    this.members = members;
    const serving = members.filter((m) => !m.draining);
    const candidates = serving.length > 0 ? serving : members;
    const healthy = candidates.filter((m) => m.healthy);
    this.panic = healthy.length === 0 && candidates.length > 0;
    const usable = this.panic ? candidates : healthy;
    this.usable = usable.map((m) => m.endpoint);
    this.balancer =
      usable.length === 0
        ? null
        : makeBalancer(
            this.balancing.type,
            usable.map((m) => ({ item: m.endpoint, weight: m.weight, identity: `${m.endpoint.address} ${m.endpoint.port}` })),
            this.random,
          );
  }
}
