/** What cases of watches have in common. */
import { MERGE, type Scene } from '../scene.ts';
import type { Json } from '../wire.ts';

export const touch = (s: Scene, plural: string, name: string, change: Json): Promise<unknown> => s.patch(plural, name, MERGE, change);
export const rising = (events: readonly { object: Json }[]): boolean =>
  events.every(
    (e, i) =>
      i === 0 || Number(e.object.metadata.resourceVersion) > Number((events[i - 1] as { object: Json }).object.metadata.resourceVersion),
  );

export const INITIAL = 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
export const isMark = (event: { type: string; object: Json }): boolean =>
  event.type === 'BOOKMARK' && event.object.metadata.annotations?.['k8s.io/initial-events-end'] === 'true';
