/** A certificate that is not valid now serves all the same: clients refuse it, and nothing would be better without it. It is said where somebody looks. */
import { clip, type CertificateDates, type Condition, type ObjectStatus } from '../compile/index.ts';

/** Begin the warning in the message of a ResolvedRefs that stays true. */
export const EXPIRED_MARK = 'certificates that have expired: ';
const EARLY_MARK = 'certificates that are not valid yet: ';

/** The status at a time. */
export function atTime(status: ObjectStatus, wall: number): ObjectStatus {
  const warning = warningOf(status.certificates ?? [], wall);
  if (warning === '') return status;
  const warned = (conditions: readonly Condition[]): readonly Condition[] => conditions.map((c) => withWarning(c, warning));
  return {
    ...status,
    conditions: warned(status.conditions),
    ...(status.listeners === undefined ? {} : { listeners: status.listeners.map((l) => ({ ...l, conditions: warned(l.conditions) })) }),
  };
}

function warningOf(certificates: readonly CertificateDates[], wall: number): string {
  const marked = (mark: string, which: (c: CertificateDates) => boolean): string[] => {
    const names = new Set(certificates.filter(which).map((c) => c.source));
    return names.size === 0 ? [] : [mark + [...names].join(', ')];
  };
  return [...marked(EXPIRED_MARK, (c) => c.notAfter <= wall), ...marked(EARLY_MARK, (c) => c.notBefore > wall)].join('; ');
}

// First, so that a long message of other things does not cut it off.
const withWarning = (c: Condition, warning: string): Condition =>
  c.type === 'ResolvedRefs' && c.status === 'True' ? { ...c, message: clip(c.message === '' ? warning : `${warning}; ${c.message}`) } : c;

/** When the first of them becomes valid, or ends to be, after `wall`; Infinity when none does. */
export function nextDate(status: ObjectStatus, wall: number): number {
  let next = Infinity;
  for (const { notBefore, notAfter } of status.certificates ?? [])
    for (const at of [notBefore, notAfter]) if (at > wall && at < next) next = at;
  return next;
}
