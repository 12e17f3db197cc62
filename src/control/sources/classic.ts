/** Spooky's classic `config.yaml`, translated into the kinds of today. `classickeys.ts` says what becomes of each key. */
import {
  pathText,
  readDuration,
  readSettings,
  readSize,
  show,
  suggestion,
  validateListener,
  validateUpstream,
  type Fault,
  type FileContent,
  type ObjectMeta,
  type Origin,
  type PathStep,
  type Problem,
} from '../../contract/resources/index.ts';
import { translateListeners, translateSettings } from './classiclisteners.ts';
import { CLASSIC_KEYS, type ClassicKey } from './classickeys.ts';
import { routeDifferences } from './classicroutes.ts';
import { ClassicReading, isMap, type Draft, type Tree } from './classicreading.ts';
import { translateUpstreams } from './classicupstreams.ts';
import { checkServerName } from './classicnames.ts';
import {
  anchorListener,
  anchorUpstream,
  MAX_PROBLEMS,
  type Interpreted,
  type Loaded,
  type ServerNameCheck,
  type SourceFile,
} from './documents.ts';
import { lookFurther, type Suspect } from './suspects.ts';
import { DocumentOrigin, placeOf, type Chunk, type YamlDocument } from './yaml.ts';

/** A map at the top without `apiVersion` and `kind`, with a key that only classic files have. */
export function isClassic(document: YamlDocument): boolean {
  const { value } = document;
  if (!isMap(value) || Object.hasOwn(value, 'apiVersion') || Object.hasOwn(value, 'kind')) return false;
  return ['version', 'listen', 'listeners', 'upstream'].some((key) => Object.hasOwn(value, key));
}

interface KeyNode {
  key: ClassicKey | null;
  readonly children: Map<string, KeyNode>;
}

const ROOT: KeyNode = { key: null, children: new Map() };
for (const key of CLASSIC_KEYS) {
  let node = ROOT;
  for (const step of key.path.replaceAll('[]', '.[]').split('.')) {
    let next = node.children.get(step);
    if (next === undefined) node.children.set(step, (next = { key: null, children: new Map() }));
    node = next;
  }
  node.key = key;
}

export function interpretClassic(file: SourceFile, cwd: string, chunk: Chunk, document: YamlDocument): Interpreted {
  const origin = new DocumentOrigin(file.name, chunk, document.index);
  const problems: Problem[] = [];
  for (const f of document.faults)
    if (!f.ambiguous)
      problems.push({ severity: f.severity, file: file.name, ...placeOf(chunk, f.offset), object: '', path: f.path, message: f.message });
  const said = new Set<string>();
  const counts = { error: 0, warning: 0 };
  const reading = new ClassicReading(document.value as Tree, file.directory, cwd, (steps, message, severity) => {
    const path = pathText(steps);
    // What is global comes up for each object that it became part of.
    const key = JSON.stringify([path, message]);
    if (counts[severity] >= MAX_PROBLEMS || said.has(key)) return;
    said.add(key);
    counts[severity]++;
    problems.push({ severity, file: file.name, ...origin.locate(path), object: '', path, message });
  });
  checkKeys(reading, document.value, ROOT, [], false);
  for (const { steps } of document.empty) checkEmpty(reading, steps);
  const { loaded, names, files, suspects } = translate(reading, origin, file.name);
  return {
    loaded,
    problems,
    settingsProblems: [],
    files,
    suspects,
    refused: [],
    origins: [origin],
    others: [],
    forCluster: false,
    classic: { names, looked: reading.looked },
  };
}

type Translated = { readonly loaded: Loaded[]; readonly names: ServerNameCheck[]; readonly files: string[]; readonly suspects: Suspect[] };

function translate(reading: ClassicReading, origin: Origin, file: string): Translated {
  const loaded: Loaded[] = [];
  const suspects: Suspect[] = [];
  const files: string[] = [];
  const absolute = (path: string): string => {
    files.push(path);
    return path;
  };
  const suspect = (draft: Draft): void => {
    for (const { path, ...rest } of lookFurther(draft.spec, absolute).references) {
      const steps = pathText(draft.stepsOf(path));
      const place = { severity: 'error', file, ...origin.locate(steps), object: '', path: steps } as const;
      suspects.push({ ...rest, problem: (message) => ({ ...place, message }) });
    }
  };
  const { drafts, names } = translateListeners(reading);
  for (const draft of drafts) {
    const { value, faults } = validateListener(draft.spec, { standalone: true, unknown: 'refuse' });
    for (const f of faults) tell(reading, draft.stepsOf(f.path), f);
    if (value === null) suspect(draft);
    else loaded.push({ kind: 'Listener', object: { meta: metaOf(draft, origin), spec: anchorListener(value, absolute) } });
  }
  const { drafts: upstreams, routes } = translateUpstreams(reading);
  for (const draft of upstreams) {
    const { value, faults } = validateUpstream(draft.spec, { standalone: true, unknown: 'refuse' });
    for (const f of faults) tell(reading, draft.stepsOf(f.path), f);
    if (value === null) suspect(draft);
    else loaded.push({ kind: 'Upstream', object: { meta: metaOf(draft, origin), spec: anchorUpstream(value, absolute) } });
  }
  for (const d of routeDifferences(routes))
    reading.warn(
      ['upstream', d.now.name, 'route'],
      `${d.method} ${d.host}${d.path} was served by ${show(d.before.name)} and is served by ${show(d.now.name)}: hosts come before paths now, and prefixes end with a segment`,
    );
  const settings = translateSettings(reading);
  const read = readSettings(settings.spec);
  for (const f of read.faults) tell(reading, settings.stepsOf(`spec.${f.name}`), { message: f.message, severity: 'error' });
  // A file that sets nothing leaves room for a document that does.
  if (Object.keys(read.settings).length > 0) loaded.push({ kind: 'Settings', settings: read.settings, origin: originOf(settings, origin) });
  return { loaded, names: names.map((n) => n(file, origin)), files, suspects };
}

const tell = (reading: ClassicReading, steps: readonly PathStep[], { message, severity }: Pick<Fault, 'message' | 'severity'>): void =>
  reading.report(steps, inTheirUnit(reading.int(steps), message), severity);

/** A range of ours as a key of whole numbers has it: who is told of `30s` would write that. */
function inTheirUnit(value: number | undefined, message: string): string {
  const range = /(0s or )?(\S+) to (\S+), not \S+$/.exec(message);
  if (value === undefined || range === null) return message;
  const [low, high] = range.slice(2).map((bound) => ({ duration: readDuration(bound), size: readSize(bound) })) as [Bound, Bound];
  if (low.duration !== null && high.duration !== null)
    return `must be a whole number of milliseconds, ${range[1] === undefined ? '' : '0 or '}${low.duration} to ${high.duration}, not ${value}`;
  if (low.size === null || high.size === null || message.startsWith('must be a whole number,')) return message;
  return `must be a whole number${message.includes('a size') ? ' of bytes' : ''}, ${low.size} to ${high.size}, not ${value}`;
}

interface Bound {
  readonly duration: number | null;
  readonly size: number | null;
}

const originOf = (draft: Draft, origin: Origin): Origin => {
  const spell = (path: string): string => pathText(draft.stepsOf(path));
  return { file: origin.file, locate: (path) => origin.locate(spell(path)), spell };
};

const metaOf = (draft: Draft, origin: Origin): ObjectMeta => ({
  namespace: 'default',
  name: draft.name,
  uid: '',
  generation: 0,
  created: 0,
  labels: new Map(),
  origin: originOf(draft, origin),
});

/** Every key known, of its type, and at its default where we do not honour it. */
function checkKeys(reading: ClassicReading, value: unknown, node: KeyNode, steps: readonly PathStep[], off: boolean): void {
  const items = node.children.get('[]');
  if (items !== undefined && Array.isArray(value)) {
    value.forEach((item: unknown, i) => checkKeys(reading, item, items, [...steps, i], off));
    return;
  }
  if (!isMap(value)) {
    const key = node.key;
    if (key === null || key.type === 'map' || steps.some((s) => typeof s === 'number'))
      reading.fault(steps, `must be a map of keys, not ${show(value)}`);
    return;
  }
  const disabled = off || isOff(value, node);
  for (const [name, inner] of Object.entries(value)) checkKey(reading, inner, node, [...steps, name], name, disabled);
}

/** A key without a value is the same as none, but it must be one. */
function checkEmpty(reading: ClassicReading, steps: readonly PathStep[]): void {
  let node = ROOT;
  for (const [i, step] of steps.entries()) {
    const child = node.children.get(typeof step === 'number' ? '[]' : step) ?? node.children.get('*');
    if (child === undefined) {
      if (i === steps.length - 1) unknownKey(reading, node, steps);
      return;
    }
    node = child;
  }
}

function unknownKey(reading: ClassicReading, node: KeyNode, steps: readonly PathStep[]): void {
  const known = [...node.children.keys()].filter((k) => k !== '[]');
  reading.fault(steps, `is unknown${suggestion(String(steps.at(-1)), known)}`);
}

/** Whether a feature's `enabled` is false, written or by default. */
function isOff(value: Tree, node: KeyNode): boolean {
  const enabled = node.children.get('enabled')?.key;
  return enabled !== null && enabled !== undefined && (value['enabled'] ?? enabled.fallback) === false;
}

function checkKey(reading: ClassicReading, value: unknown, node: KeyNode, steps: readonly PathStep[], name: string, off: boolean): void {
  const child = node.children.get(name) ?? node.children.get('*');
  if (child === undefined) {
    unknownKey(reading, node, steps);
    return;
  }
  const key = child.key;
  if (key !== null && key.state === 'default') {
    if (!off && !equal(value, key.fallback)) reading.fault(steps, refusal(key));
    return;
  }
  if (key !== null && !isOfType(value, key.type)) {
    const isNegative = key.type === 'int' && Number.isSafeInteger(value);
    reading.fault(steps, `must be ${isNegative ? '0 or more' : TYPES[key.type]}, not ${show(value)}`);
    return;
  }
  if (child.children.size > 0) checkKeys(reading, value, child, steps, off);
}

const TYPES = { int: 'a whole number', bool: 'true or false', text: 'text', list: 'a list', map: 'a map of keys' } as const;

function isOfType(value: unknown, type: ClassicKey['type']): boolean {
  if (type === 'int') return Number.isSafeInteger(value) && (value as number) >= 0;
  if (type === 'bool') return typeof value === 'boolean';
  if (type === 'text') return typeof value === 'string';
  return type === 'list' ? Array.isArray(value) : isMap(value);
}

function refusal(key: ClassicKey): string {
  const fallback = key.fallback;
  const kept = fallback === null || fallback === '' ? 'remove it' : `remove it, or leave it at ${JSON.stringify(fallback)}`;
  return `is not supported yet: ${key.becomes === '' ? kept : `${kept}; ${key.becomes}`}`;
}

/** Values of YAML; numbers that are written with a fraction are the same numbers. */
function equal(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) || Array.isArray(b))
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((v, i) => equal(v, b[i]));
  if (!isMap(a) || !isMap(b)) return a === b;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((k) => Object.hasOwn(b, k) && equal(a[k], b[k]));
}

/** What can be judged only with the certificates in hand: each `server_name` is covered by its own certificate, and by no other as well. */
export const checkClassicCertificates = (checks: readonly ServerNameCheck[], files: ReadonlyMap<string, FileContent>): Problem[] =>
  checks.flatMap((check) => {
    const message = checkServerName(check, files);
    return message === null ? [] : [check.problem(message)];
  });
