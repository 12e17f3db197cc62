import type { Balancing } from '../../../contract/snapshot/parts.ts';
import type { Balancer, Weighted } from './balancer.ts';
import { consistentHash } from './maglev.ts';
import { random } from './random.ts';
import { roundRobin } from './roundrobin.ts';

export type { Balancer, Weighted } from './balancer.ts';

/** The balancer of a policy over a non-empty set. `source` is this worker's random numbers. */
export function makeBalancer<T>(type: Balancing['type'], items: readonly Weighted<T>[], source: () => number): Balancer<T> {
  switch (type) {
    case 'RoundRobin':
      return roundRobin(items, source());
    case 'Random':
      return random(items, source);
    case 'ConsistentHash':
      return consistentHash(items);
    default:
      return type satisfies never;
  }
}
