/**
 * Listeners and Upstreams as compile takes them. Nothing else of an object is kept, and what its author wrote can do no more than refuse this
 * one object. An object whose spec says what it said before is the very same Resource, so that nothing made of it is made again.
 */
import { hash } from 'node:crypto';
import {
  objectKey,
  validateListener,
  validateUpstream,
  type Fault,
  type Listener,
  type ObjectKey,
  type ObjectMeta,
  type RejectedObject,
  type Resource,
  type Upstream,
  type Validated,
} from '../../../contract/resources/index.ts';
import type { SeenObject } from '../../status/client.ts';
import { fieldsOf, isName, isNamespace, mapsOf, metaOf, resourceVersionOf, type Identity } from './meta.ts';

/** What became of the spec. */
export type Verdict<Spec> =
  | { readonly is: 'valid'; readonly resource: Resource<Spec> }
  /** `listeners`: those that a refused Upstream names; null: every one. */
  | { readonly is: 'rejected'; readonly object: RejectedObject; readonly listeners: ReadonlySet<ObjectKey> | null }
  /** A Listener of another class. */
  | { readonly is: 'foreign' };

export interface OurObject<Spec> extends Identity {
  readonly seen: SeenObject;
  /** Whether a status that we applied is on it. */
  readonly held: boolean;
  readonly verdict: Verdict<Spec>;
  /** Of everything that the verdict depends on. */
  readonly digest: string;
}

export interface OursOptions {
  readonly className: string;
  /** `spooky.dev/<class>`: whose entry of an Upstream's status is ours, and the manager of what we apply. */
  readonly controllerName: string;
}

const OPTIONS = { standalone: false, unknown: 'ignore' } as const;
/** Nobody mends more at a time, and a condition holds 1 kB. */
export const MAX_FAULTS = 16;
export const MAX_FAULT_TEXT = 1024;
export const MAX_STATUS = 256 * 1024;
export const DEFAULT_CLASS = 'spooky';

/** Throws on what no server sends, like nesting without end. */
export function readListener(
  raw: unknown,
  identity: Identity,
  known: OurObject<Listener> | undefined,
  o: OursOptions,
): OurObject<Listener> {
  return read(raw, identity, known, o, fieldsOf(fieldsOf(raw)['status']), (spec, meta) => {
    // A class that is no text is nobody's: nothing is said about it.
    const className = fieldsOf(spec)['className'] ?? DEFAULT_CLASS;
    if (className !== o.className) return { is: 'foreign' };
    return verdictOf('Listener', meta, validateListener(spec, OPTIONS), null);
  });
}

export function readUpstream(
  raw: unknown,
  identity: Identity,
  known: OurObject<Upstream> | undefined,
  o: OursOptions,
): OurObject<Upstream> {
  return read(raw, identity, known, o, ownEntry(fieldsOf(raw)['status'], o.controllerName), (spec, meta) =>
    verdictOf('Upstream', meta, validateUpstream(spec, OPTIONS), listenersOf(spec)),
  );
}

function read<Spec>(
  raw: unknown,
  identity: Identity,
  known: OurObject<Spec> | undefined,
  { controllerName }: OursOptions,
  status: unknown,
  judge: (spec: unknown, meta: ObjectMeta) => Verdict<Spec>,
): OurObject<Spec> {
  const meta = metaOf(raw, identity);
  const spec = fieldsOf(raw)['spec'] ?? {};
  const digest = hash('sha1', JSON.stringify([meta.uid, meta.generation, meta.created, spec]), 'base64');
  const seen = { uid: meta.uid, resourceVersion: resourceVersionOf(raw), generation: meta.generation, status: bounded(status) };
  const verdict = known?.digest === digest ? known.verdict : judge(spec, meta);
  return { ...identity, seen, held: isHeld(raw, controllerName), verdict, digest };
}

const isHeld = (raw: unknown, manager: string): boolean =>
  mapsOf(fieldsOf(fieldsOf(raw)['metadata'])['managedFields'], 256).some((m) => m['manager'] === manager && m['subresource'] === 'status');

function verdictOf<Spec>(
  kind: RejectedObject['kind'],
  meta: ObjectMeta,
  { value, faults }: Validated<Spec>,
  listeners: ReadonlySet<ObjectKey> | null,
): Verdict<Spec> {
  if (value !== null) return { is: 'valid', resource: { meta, spec: value } };
  return { is: 'rejected', object: { kind, meta, faults: faults.slice(0, MAX_FAULTS).map(short) }, listeners };
}

const cut = (text: string): string => (text.length > MAX_FAULT_TEXT ? `${text.slice(0, MAX_FAULT_TEXT - 3)}...` : text);
const short = ({ severity, path, message }: Fault): Fault => ({ severity, path: cut(path), message: cut(message) });

/** Where a refused Upstream wants to be, as far as it can be read. */
function listenersOf(spec: unknown): ReadonlySet<ObjectKey> | null {
  const written = fieldsOf(spec)['listeners'];
  if (written === undefined) return null;
  const keys = new Set<ObjectKey>();
  for (const { namespace, name } of mapsOf(written, 16)) if (isNamespace(namespace) && isName(name)) keys.add(objectKey(namespace, name));
  return keys.size === 0 ? null : keys;
}

const NOTHING = {};

/** Of the entries of all installations the own one: what others wrote is nothing to us. */
function ownEntry(status: unknown, controllerName: string): unknown {
  const entries = mapsOf(fieldsOf(status)['installations'], 64);
  const own = entries.find((e) => e['controllerName'] === controllerName);
  return own === undefined ? NOTHING : { installations: [own] };
}

/** What is larger than anything that we would have written counts as nothing. */
const bounded = (status: unknown): unknown => (JSON.stringify(status).length <= MAX_STATUS ? status : NOTHING);

/** A new status is none for compile, but the next write needs it. */
export const keepOurs = <Spec>(before: OurObject<Spec>, after: OurObject<Spec>): OurObject<Spec> | null =>
  before.verdict === after.verdict ? after : null;
