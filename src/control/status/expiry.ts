/** A certificate that has expired serves on: clients refuse it, and nothing would be better without it. It is said where somebody looks. */
import { clip, type Condition, type ObjectStatus } from '../compile/index.ts';

/** Begins the warning in the message of a ResolvedRefs that stays true. */
export const EXPIRED_MARK = 'certificates that have expired: ';

type Certificates = NonNullable<ObjectStatus['certificates']>;

const expired = (certificates: Certificates, wall: number): string[] => [
  ...new Set(certificates.filter((c) => c.notAfter <= wall).map((c) => c.source)),
];

/** The status at a time. */
export function atTime(status: ObjectStatus, wall: number): ObjectStatus {
  const names = expired(status.certificates ?? [], wall);
  if (names.length === 0) return status;
  const warning = EXPIRED_MARK + names.join(', ');
  const warned = (conditions: readonly Condition[]): readonly Condition[] => conditions.map((c) => withWarning(c, warning));
  return {
    ...status,
    conditions: warned(status.conditions),
    ...(status.listeners === undefined ? {} : { listeners: status.listeners.map((l) => ({ ...l, conditions: warned(l.conditions) })) }),
  };
}

// First, so that a long message of other things does not cut it off.
const withWarning = (c: Condition, warning: string): Condition =>
  c.type === 'ResolvedRefs' && c.status === 'True' ? { ...c, message: clip(c.message === '' ? warning : `${warning}; ${c.message}`) } : c;

/** When the first of them expires after `wall`; Infinity when none does. */
export function nextExpiry(status: ObjectStatus, wall: number): number {
  let next = Infinity;
  for (const { notAfter } of status.certificates ?? []) if (notAfter > wall && notAfter < next) next = notAfter;
  return next;
}
