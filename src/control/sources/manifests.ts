/** What goes to a cluster and not into files: which documents those are, and the objects of a `List` as documents of their own. */
import type { Origin, PathStep } from '../../contract/resources/index.ts';
import { closest } from '../../lib/closest.ts';
import type { DocumentOrigin, YamlDocument } from './yaml.ts';

/** Whom documents are for. */
export type Target = 'files' | 'cluster';

const OUR_GROUP = 'spooky.dev';
const OUR_KINDS: ReadonlySet<string> = new Set(['Listener', 'Upstream', 'Settings']);

/** Those of `v1`: what is not among them is a mistake. */
export const CORE_KINDS: ReadonlySet<string> = new Set([
  'Endpoints',
  'Event',
  'LimitRange',
  'List',
  'Namespace',
  'Node',
  'PersistentVolume',
  'PersistentVolumeClaim',
  'Pod',
  'PodTemplate',
  'ReplicationController',
  'ResourceQuota',
  'Service',
  'ServiceAccount',
]);

/** The groups of Kubernetes itself that have no dot; those of others always have one. */
const PLAIN_GROUPS: ReadonlySet<string> = new Set(['apps', 'autoscaling', 'batch', 'extensions', 'policy']);

const GROUP_VERSION = /^([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)\/v[0-9]{1,4}(?:(?:alpha|beta)[0-9]{1,4})?$/;

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);
const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {});

/** An object of a cluster that is none of ours: only its name is judged, by whoever has it. */
export interface OtherObject {
  readonly apiVersion: string;
  readonly kind: string;
  /** As it was written. */
  readonly value: Fields;
  readonly origin: Origin;
  /** Its text has something that we read in another way than a cluster: it is not looked into. */
  readonly doubtful: boolean;
}

/** Whether it is of a kind that files do not have, and not a kind of ours under a wrong name. */
export function isForeign({ apiVersion, kind }: Fields): boolean {
  if (typeof apiVersion !== 'string' || typeof kind !== 'string' || !/^[A-Z][A-Za-z0-9]{0,62}$/.test(kind)) return false;
  if (apiVersion === 'v1') return CORE_KINDS.has(kind);
  const group = GROUP_VERSION.exec(apiVersion)?.[1];
  if (group === undefined || group === OUR_GROUP) return false;
  if (PLAIN_GROUPS.has(group)) return true;
  // `spooky.io/v1` was meant to be ours; somebody else's Upstream is not.
  return group.includes('.') && !(OUR_KINDS.has(kind) && closest(group, [OUR_GROUP]) !== null);
}

/** Whether a document can be meant for a cluster alone. */
export function isForCluster(value: unknown): boolean {
  if (!isFields(value)) return false;
  if (isForeign(value)) return true;
  const spec = fieldsOf(value['spec']);
  if (typeof value['apiVersion'] !== 'string' || !value['apiVersion'].startsWith(`${OUR_GROUP}/`)) return false;
  if (value['kind'] === 'Listener') return fieldsOf(spec['allowedNamespaces'])['from'] === 'Selector';
  const backends: unknown = value['kind'] === 'Upstream' ? spec['backends'] : undefined;
  return Array.isArray(backends) && backends.some((b) => isFields(b) && b['service'] !== undefined);
}

export const isList = (value: unknown): value is Fields => isFields(value) && value['apiVersion'] === 'v1' && value['kind'] === 'List';

/** A document, or an object of a `List`. */
export interface Piece {
  readonly document: YamlDocument;
  /** `items[3]`; '' for a whole document. */
  readonly at: string;
}

/** The objects of a `List`; null when it has none that could be read. */
export function itemsOf(document: YamlDocument): Piece[] | null {
  const items: unknown = fieldsOf(document.value)['items'];
  if (!Array.isArray(items)) return null;
  const faults = grouped(document.faults, (f) => /^items\[(\d+)\]/.exec(f.path)?.[1]);
  const empty = grouped(document.empty, ({ steps }) =>
    steps[0] === 'items' && typeof steps[1] === 'number' ? String(steps[1]) : undefined,
  );
  return items.map((value: unknown, i): Piece => {
    const at = `items[${i}]`;
    return {
      at,
      document: {
        ...document,
        value,
        faults: (faults.get(String(i)) ?? []).map((f) => ({ ...f, path: below(f.path, at) })),
        empty: (empty.get(String(i)) ?? []).map((e) => ({ ...e, steps: e.steps.slice(2) as readonly PathStep[] })),
      },
    };
  });
}

function grouped<T>(list: readonly T[], key: (item: T) => string | undefined): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of list) {
    const name = key(item);
    if (name === undefined) continue;
    const there = groups.get(name);
    if (there === undefined) groups.set(name, [item]);
    else there.push(item);
  }
  return groups;
}

const below = (path: string, at: string): string => path.slice(at.length).replace(/^\./, '');

/** A path of an object, as the document that holds it has it. */
export const spelled = (at: string, path: string): string => (at === '' ? path : path === '' ? at : `${at}.${path}`);

/** Where the fields of an object of a `List` are. */
export class ItemOrigin implements Origin {
  readonly file: string;
  private readonly document: DocumentOrigin;
  private readonly at: string;

  constructor(document: DocumentOrigin, at: string) {
    this.file = document.file;
    this.document = document;
    this.at = at;
  }

  locate(path: string): { readonly line: number; readonly column: number } {
    return this.document.locate(this.spell(path));
  }

  spell(path: string): string {
    return spelled(this.at, path);
  }
}
