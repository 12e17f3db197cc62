/** Get and list: what version a list may be of, its pages, and the forms of an answer. */
import type { Cause, Kind, KubeObject, Plain } from './model.ts';
import { apiVersionOf, keyOf } from './model.ts';
import { badRequest, expired, invalid, Refusal, tooLargeVersion } from './status.ts';
import type { Predicate } from './selectors.ts';
import type { Store } from './store.ts';

export interface ListOptions {
  readonly limit: number;
  readonly continue: string;
  readonly resourceVersion: string;
  readonly resourceVersionMatch: string;
  readonly sendInitialEvents: string;
}

export const METADATA_ONLY = 'meta.k8s.io/v1';

export const metadataOnly = (object: KubeObject): Plain => ({
  kind: 'PartialObjectMetadata',
  apiVersion: METADATA_ONLY,
  metadata: object.metadata,
});

const cause = (field: string, message: string, reason: Cause['reason'] = 'FieldValueForbidden'): Cause => ({ reason, message, field });

const optionsError = (...causes: Cause[]): Refusal => invalid({ group: 'meta.k8s.io', kind: 'ListOptions' }, '', causes);

const UNVERSIONED = 'Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided';

export function parseVersion(text: string, watch = false): number | null {
  if (text === '') return null;
  if (!/^\d+$/.test(text)) {
    const what = `resourceVersion: Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`;
    throw watch ? new Refusal(500, null, what) : badRequest(`invalid resource version: ${what}`);
  }
  return Number(text);
}

export function checkListOptions(o: ListOptions, watch: boolean, watchLists: boolean): void {
  const match = (message: string): Refusal => optionsError(cause('resourceVersionMatch', message));
  if (o.sendInitialEvents !== '') checkInitialEvents(o, watch, watchLists);
  else if (o.resourceVersionMatch === '') return;
  else if (watch) throw match('Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided');
  else if (o.resourceVersion === '') throw match(UNVERSIONED);
  else if (o.continue !== '') throw match('Forbidden: resourceVersionMatch is forbidden when continue is provided');
  else if (o.resourceVersionMatch !== 'Exact' && o.resourceVersionMatch !== 'NotOlderThan') {
    const message = `Unsupported value: ${JSON.stringify(o.resourceVersionMatch)}: supported values: "Exact", "NotOlderThan", ""`;
    throw optionsError(cause('resourceVersionMatch', message, 'FieldValueNotSupported'));
  } else if (o.resourceVersionMatch === 'Exact' && o.resourceVersion === '0') {
    throw match('Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
  }
}

function checkInitialEvents(o: ListOptions, watch: boolean, watchLists: boolean): void {
  if (!watch) {
    const first = o.resourceVersionMatch !== '' && o.resourceVersion === '' ? [cause('resourceVersionMatch', UNVERSIONED)] : [];
    throw optionsError(...first, cause('sendInitialEvents', 'Forbidden: sendInitialEvents is forbidden for list'));
  }
  if (!watchLists) {
    const message = 'Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled';
    throw optionsError(cause('sendInitialEvents', message));
  }
  if (o.resourceVersionMatch !== 'NotOlderThan') {
    throw optionsError(cause('resourceVersionMatch', 'Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan'));
  }
}

interface Token {
  readonly rv: number;
  readonly start: string;
}

const encodeToken = (token: Token): string =>
  Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: token.rv, start: token.start })).toString('base64url');

function decodeToken(text: string): Token {
  try {
    const { v, rv, start } = JSON.parse(Buffer.from(text, 'base64url').toString()) as Plain;
    if (v === 'meta.k8s.io/v1' && typeof rv === 'number' && typeof start === 'string') return { rv, start };
  } catch {
    // Told below.
  }
  throw badRequest('continue key is not valid: illegal base64 data');
}

/** `selected`: a selector stands in `accepts`, beside the namespace. */
export function list(store: Store, kind: Kind, accepts: Predicate | null, selected: boolean, o: ListOptions, metadata: boolean): Plain {
  checkListOptions(o, false, true);
  const { objects, rv, start } = o.continue === '' ? snapshot(store, kind, o) : resumed(store, kind, o);
  const after = objects.filter((object) => start === '' || keyOf(object) >= start);
  const page: KubeObject[] = [];
  let next: string | null = null;
  let left = 0;
  for (const object of after) {
    if (accepts !== null && !accepts(object)) continue;
    if (o.limit > 0 && page.length >= o.limit) {
      if (next === null) next = encodeToken({ rv, start: keyOf(object) });
      left++;
    } else page.push(object);
  }
  return {
    kind: metadata ? 'PartialObjectMetadataList' : `${kind.kind}List`,
    apiVersion: metadata ? METADATA_ONLY : apiVersionOf(kind),
    metadata: {
      resourceVersion: String(rv),
      ...(next === null ? {} : { continue: next }),
      // Nobody counts what a selector would still take.
      ...(next === null || selected ? {} : { remainingItemCount: left }),
    },
    items: page.map((object) => item(kind, object, metadata)),
  };
}

/** Items of built-in types carry no type of their own. */
function item(kind: Kind, object: KubeObject, metadata: boolean): Plain {
  if (metadata) return metadataOnly(object);
  if (kind.custom) return object;
  const { apiVersion: _v, kind: _k, ...rest } = object;
  return rest;
}

function snapshot(store: Store, kind: Kind, o: ListOptions): { objects: KubeObject[]; rv: number; start: string } {
  const asked = parseVersion(o.resourceVersion);
  if (asked !== null && asked > store.rv) throw tooLargeVersion(asked, store.rv);
  const exact = asked !== null && asked > 0 && (o.resourceVersionMatch === 'Exact' || (o.resourceVersionMatch === '' && o.limit > 0));
  if (!exact) return { objects: store.all(kind), rv: store.rv, start: '' };
  const objects = store.at(kind, asked);
  if (objects === null) throw expired(`The resourceVersion for the provided list is too old.`);
  return { objects, rv: asked, start: '' };
}

function resumed(store: Store, kind: Kind, o: ListOptions): { objects: KubeObject[]; rv: number; start: string } {
  if (o.resourceVersion !== '' && o.resourceVersion !== '0')
    throw badRequest('specifying resource version is not allowed when using continue');
  const { rv, start } = decodeToken(o.continue);
  if (rv === -1) return { objects: store.all(kind), rv: store.rv, start };
  const objects = rv > store.rv ? null : store.at(kind, rv);
  if (objects !== null) return { objects, rv, start };
  // The token in this answer goes on with what is there now: an inconsistent list, for those who take it.
  throw expired(
    'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.',
    { continue: encodeToken({ rv: -1, start }) },
  );
}
