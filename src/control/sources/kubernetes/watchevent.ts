/** One line of a watch. */
import type { ApiError } from './api.ts';
import { asRecord, eventError } from './answers.ts';
import type { EventType } from './held.ts';
import { isVersion } from './versions.ts';

export type WatchEvent =
  | { readonly type: EventType; readonly object: unknown }
  /** `listed`: all objects that there were at the beginning have come. */
  | { readonly type: 'BOOKMARK'; readonly version: string; readonly listed: boolean }
  | { readonly type: 'ERROR'; readonly error: ApiError };

const LISTED = 'k8s.io/initial-events-end';

/** Null: a type that is not known, or no event at all. Throws when the line is no JSON. */
export const parseEvent = (line: Buffer): WatchEvent | null => {
  const event = asRecord(JSON.parse(line.toString('utf8')));
  const object = event?.['object'];
  switch (event?.['type']) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { type: event['type'], object };
    case 'BOOKMARK': {
      const meta = asRecord(asRecord(object)?.['metadata']);
      const version = meta?.['resourceVersion'];
      return isVersion(version) ? { type: 'BOOKMARK', version, listed: asRecord(meta?.['annotations'])?.[LISTED] === 'true' } : null;
    }
    case 'ERROR':
      return { type: 'ERROR', error: eventError(object) };
    default:
      return null;
  }
};
