/** Who comes before whom. */
import type { ObjectMeta } from '../../contract/resources/index.ts';
import type { ObjectName } from '../../contract/snapshot/index.ts';

const text = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Who was there first: by age where it is known, then by namespace and name, each for itself. */
export const byAge = (a: { readonly meta: ObjectMeta }, b: { readonly meta: ObjectMeta }): number =>
  a.meta.created - b.meta.created || text(a.meta.namespace, b.meta.namespace) || text(a.meta.name, b.meta.name);

export const byName = (a: ObjectName, b: ObjectName): number => text(a.namespace, b.namespace) || text(a.name, b.name);
