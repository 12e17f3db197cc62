/** When an object has turned from good to bad, or back: what two statuses of it differ in. Pure. */
import { clip, CONDITION_REASONS, type ConditionType } from '../compile/index.ts';
import type { EventNote, ObjectRef } from './client.ts';
import { isGood, ownPart, readConditions, type WrittenCondition } from './conditions.ts';
import { EXPIRED_MARK } from './validity.ts';
import { remedyFor } from './remedies.ts';

/** What the controller was at; events need a verb. Causes come before consequences. */
const ACTIONS: Readonly<Record<ConditionType, string>> = {
  Accepted: 'Accept',
  ResolvedRefs: 'Resolve',
  Conflicted: 'Accept',
  Published: 'Publish',
  Programmed: 'Program',
};

type Conditions = ReadonlyMap<ConditionType, WrittenCondition>;

export function turns(ref: ObjectRef, controller: string, before: unknown, after: unknown): EventNote[] {
  const was = readConditions(ownPart(ref.kind, controller, before));
  const is = readConditions(ownPart(ref.kind, controller, after));
  if (is.size === 0) return [];
  return [...worse(ref, was, is), ...better(ref, was, is), ...expiries(ref, was, is)];
}

const good = (conditions: Conditions, type: ConditionType): boolean | null => {
  const c = conditions.get(type);
  return c === undefined ? null : isGood({ type, status: c.status === 'True' ? 'True' : 'False' });
};

const TYPES = Object.keys(ACTIONS) as ConditionType[];

/** A warning for each cause. That it is not programmed follows from any other, and is said only where there is none. */
function worse(regarding: ObjectRef, was: Conditions, is: Conditions): EventNote[] {
  const bad = TYPES.filter((type) => good(is, type) === false);
  // Of an object that nobody has judged before, to be on its way is no news.
  const isNews = (type: ConditionType): boolean =>
    good(was, type) !== false && (type !== 'Programmed' || is.get(type)?.reason !== 'Pending' || (bad.length === 1 && was.size > 0));
  return bad.filter(isNews).map((type) => {
    const { reason, message } = is.get(type) as WrittenCondition;
    return { regarding, type: 'Warning', reason, action: ACTIONS[type], note: sentence(message, remedyFor(reason, regarding.kind)) };
  });
}

/** One event however many conditions have turned, and only when none is bad any more. */
function better(regarding: ObjectRef, was: Conditions, is: Conditions): EventNote[] {
  if (TYPES.some((type) => good(is, type) === false)) return [];
  const turned = TYPES.filter((type) => good(was, type) === false && good(is, type) === true);
  const [first] = turned;
  if (first === undefined) return [];
  const causes = turned.map((type) => (was.get(type) as WrittenCondition).reason).join(', ');
  return [{ regarding, type: 'Normal', reason: CONDITION_REASONS[first][0], action: ACTIONS[first], note: `Good again, after ${causes}.` }];
}

/** A certificate that has expired leaves its condition true. */
function expiries(regarding: ObjectRef, was: Conditions, is: Conditions): EventNote[] {
  const warning = (conditions: Conditions): string | null => {
    const c = conditions.get('ResolvedRefs');
    return c !== undefined && c.status === 'True' && c.message.startsWith(EXPIRED_MARK) ? c.message : null;
  };
  const [before, now] = [warning(was), warning(is)];
  if (now !== null && before === null) {
    const note = sentence(now, 'Renew the certificate in its Secret: it is served all the same, and clients refuse it.');
    return [{ regarding, type: 'Warning', reason: 'CertificateExpired', action: 'Resolve', note }];
  }
  if (now !== null || before === null || good(is, 'ResolvedRefs') !== true) return [];
  return [{ regarding, type: 'Normal', reason: 'CertificateRenewed', action: 'Resolve', note: 'No certificate is expired any more.' }];
}

/** The remedy stays whole: the cause is in the condition, too. */
const REMEDY_BYTES = 300;

function sentence(cause: string, remedy: string): string {
  const room = 1024 - REMEDY_BYTES;
  const short =
    Buffer.byteLength(cause) > room
      ? `${Buffer.from(cause)
          .subarray(0, room)
          .toString('utf8')
          .replace(/\ufffd+$/, '')}...`
      : cause;
  return clip(remedy === '' ? short : `${short === '' ? '' : `${short.replace(/[.]$/, '')}. `}${remedy}`);
}
