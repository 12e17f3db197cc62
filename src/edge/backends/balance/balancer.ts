/** One policy of choosing among the usable endpoints of a group. Built anew when membership changes; `pick` allocates nothing. */
export interface Balancer<T> {
  /** `hash` is the balancing key's, used by consistent hashing alone. Never called on an empty set. */
  pick(hash: number): T;
}

export interface Weighted<T> {
  readonly item: T;
  readonly weight: number;
  /** Stable over time and alike in every worker: what consistent hashing places. */
  readonly identity: string;
}
