/** Conditions as they stand in a status that anybody may have written: read with care. */
import { CONDITION_REASONS, type Condition, type ConditionType } from '../compile/index.ts';

export interface WrittenCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  readonly lastTransitionTime: string;
}

/** More are not read: a status has at most one of each type. */
const MAX_READ = 64;

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const field = (value: unknown, name: string): unknown => (isRecord(value) ? value[name] : undefined);

export const listField = (value: unknown, name: string): readonly unknown[] => {
  const list = field(value, name);
  return Array.isArray(list) ? list : [];
};

const textField = (value: unknown, name: string): string => {
  const text = field(value, name);
  return typeof text === 'string' ? text : '';
};

/** `spooky.dev/CLASS`: the name of our entries, of our field manager, and of who reports our events. */
export const controllerName = (className: string): string => `spooky.dev/${className}`;

/** What of a status is ours: a Listener has one owner, an Upstream an entry per installation. */
export const ownPart = (kind: 'Listener' | 'Upstream', controller: string, status: unknown): unknown =>
  kind === 'Listener' ? status : listField(status, 'installations').find((entry) => textField(entry, 'controllerName') === controller);

export const isOurs = (type: string): type is ConditionType => Object.hasOwn(CONDITION_REASONS, type);

/** By type; only the types of our table. */
export function readConditions(own: unknown): Map<ConditionType, WrittenCondition> {
  const found = new Map<ConditionType, WrittenCondition>();
  for (const item of listField(own, 'conditions').slice(0, MAX_READ)) {
    const type = textField(item, 'type');
    const generation = field(item, 'observedGeneration');
    if (!isOurs(type)) continue;
    found.set(type, {
      type,
      status: textField(item, 'status'),
      reason: textField(item, 'reason'),
      message: textField(item, 'message'),
      observedGeneration: typeof generation === 'number' ? generation : 0,
      lastTransitionTime: textField(item, 'lastTransitionTime'),
    });
  }
  return found;
}

/** The status of each type that means well. */
export const isGood = ({ type, status }: Pick<Condition, 'type' | 'status'>): boolean =>
  status === (type === 'Conflicted' ? 'False' : 'True');
