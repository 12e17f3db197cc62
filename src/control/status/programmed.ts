/**
 * `Programmed` is a promise about workers: compile says what would serve, this says what does. True only where every local worker has acknowledged
 * a version that holds the object's generation, on a Listener that is bound.
 */
import { clip, type Condition, type ObjectStatus } from '../compile/index.ts';

export interface WorkerFacts {
  /** `listener` is `namespace/name`. */
  readonly bindProblems: readonly { readonly listener: string; readonly message: string }[];
  /** Every local worker serves this version. */
  readonly acknowledged: boolean;
}

/** What workers once acknowledged of an object. */
interface Served {
  readonly uid: string;
  readonly generation: number;
  /** The Listeners on which it did; of a Listener, itself. */
  readonly on: ReadonlySet<string>;
}

const PENDING: Condition = {
  type: 'Programmed',
  status: 'False',
  reason: 'Pending',
  message: 'not every worker has taken this generation over yet',
};

const LISTENER_UNBOUND: Condition = {
  type: 'Programmed',
  status: 'False',
  reason: 'Pending',
  message: 'the Listener is not served: AddressNotBound',
};

const isProgrammed = (conditions: readonly Condition[]): boolean => conditions.some((c) => c.type === 'Programmed' && c.status === 'True');

const withProgrammed = (conditions: readonly Condition[], verdict: Condition): readonly Condition[] =>
  conditions.map((c) => (c.type === 'Programmed' ? verdict : c));

const nameOf = (o: { readonly namespace: string; readonly name: string }): string => `${o.namespace}/${o.name}`;

export class Programmed {
  private served = new Map<string, Served>();
  /** Of the version that serves; one that does not arrive says nothing about addresses. */
  private unbound: ReadonlyMap<string, string> = new Map();

  /** The verdicts as workers leave them, in the same order; those that nothing changes are the same objects. */
  judge(statuses: readonly ObjectStatus[], facts: WorkerFacts): ObjectStatus[] {
    const told = problemsByListener(facts);
    const unbound = facts.acknowledged ? told : new Map([...this.unbound, ...told]);
    this.unbound = unbound;
    const served = new Map<string, Served>();
    const judged = statuses.map((status) => {
      const key = `${status.kind} ${nameOf(status)}`;
      const known = this.served.get(key);
      const now = facts.acknowledged ? servedBy(status) : known?.uid === status.uid ? known : undefined;
      if (now !== undefined) served.set(key, now);
      const serves = (on: string): boolean => now !== undefined && now.generation === status.generation && now.on.has(on);
      return status.kind === 'Listener' ? listener(status, serves, unbound) : upstream(status, serves, unbound);
    });
    this.served = served;
    return judged;
  }
}

function servedBy(status: ObjectStatus): Served {
  const { uid, generation } = status;
  if (status.kind === 'Listener') return { uid, generation, on: new Set(isProgrammed(status.conditions) ? [nameOf(status)] : []) };
  return { uid, generation, on: new Set((status.listeners ?? []).filter((l) => isProgrammed(l.conditions)).map(nameOf)) };
}

function problemsByListener({ bindProblems }: WorkerFacts): Map<string, string> {
  const texts = new Map<string, Set<string>>();
  for (const { listener: name, message } of bindProblems) {
    const known = texts.get(name);
    if (known === undefined) texts.set(name, new Set([message]));
    else known.add(message);
  }
  // Workers fail alike: each message once, and in an order that does not depend on who was first.
  return new Map([...texts].map(([name, messages]) => [name, clip([...messages].sort().join('; '))]));
}

function listener(status: ObjectStatus, serves: (on: string) => boolean, unbound: ReadonlyMap<string, string>): ObjectStatus {
  if (!isProgrammed(status.conditions)) return status;
  const problem = unbound.get(nameOf(status));
  if (problem !== undefined) {
    const verdict: Condition = { type: 'Programmed', status: 'False', reason: 'AddressNotBound', message: problem };
    return { ...status, conditions: withProgrammed(status.conditions, verdict) };
  }
  return serves(nameOf(status)) ? status : { ...status, conditions: withProgrammed(status.conditions, PENDING) };
}

function upstream(status: ObjectStatus, serves: (on: string) => boolean, unbound: ReadonlyMap<string, string>): ObjectStatus {
  let worst: Condition | null = null;
  const listeners = (status.listeners ?? []).map((l) => {
    if (!isProgrammed(l.conditions)) return l;
    const verdict = unbound.has(nameOf(l)) ? LISTENER_UNBOUND : serves(nameOf(l)) ? null : PENDING;
    if (verdict === null) return l;
    worst ??= verdict;
    return { ...l, conditions: withProgrammed(l.conditions, verdict) };
  });
  if (worst === null) return status;
  // What compile found is worse already.
  const conditions = isProgrammed(status.conditions) ? withProgrammed(status.conditions, worst) : status.conditions;
  return { ...status, listeners, conditions };
}
