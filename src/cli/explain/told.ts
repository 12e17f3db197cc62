/**
 * What the controller itself has written about an object. Which namespaces and ports count, which Secrets are read, what the kernel refused to
 * bind: the objects do not say, so that who reads them alone cannot know.
 */
import { objectKey } from '../../contract/resources/index.ts';
import type { ObjectName } from '../../contract/snapshot/index.ts';
import type { Condition, ObjectStatus } from '../../control/compile/index.ts';
import { fieldsOf, mapsOf, textOf, type Fields } from '../../control/sources/kubernetes/meta.ts';
import type { SeenObject } from '../../control/status/client.ts';

/** More than any status of ours has of anything. */
const MAX = 64;
const MESSAGE = 32768;

/** Only what is about this generation, and says what `known` does not. With a Listener: what an Upstream's status has of that one. */
export function toldBeyond(
  known: readonly Condition[],
  kind: ObjectStatus['kind'],
  seen: SeenObject | null,
  listener: ObjectName,
): Condition[] {
  if (seen === null) return [];
  const status = fieldsOf(seen.status);
  // Of an Upstream's entries it is the one of this class.
  const own = kind === 'Listener' ? status : fieldsOf(mapsOf(status['installations'], 1)[0]);
  const there = mapsOf(own['listeners'], MAX).find((l) => keyOf(l) === objectKey(listener.namespace, listener.name));
  return mapsOf((there ?? own)['conditions'], MAX)
    .filter((c) => c['observedGeneration'] === seen.generation)
    .map(read)
    .filter((c) => !known.some((k) => k.type === c.type && k.status === c.status && k.reason === c.reason));
}

const word = (value: unknown): string => textOf(value, MAX);
const read = (c: Fields): Condition =>
  ({ type: word(c['type']), status: word(c['status']), reason: word(c['reason']), message: textOf(c['message'], MESSAGE) }) as Condition;

const keyOf = (o: Fields): string => objectKey(word(o['namespace']), textOf(o['name'], 253));
