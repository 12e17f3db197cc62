/** One document -> one object: kind, metadata, and a spec that its schema has accepted; or problems with their places. */
import { resolve } from 'node:path';
import {
  matchesPattern,
  pathText,
  readSettings,
  SETTINGS,
  show,
  suggestion,
  validateEmpty,
  validateListener,
  validateUpstream,
  type BackendTls,
  type Fault,
  type ConfigMap,
  type Listener,
  type Origin,
  type ObjectMeta,
  type Problem,
  type Resource,
  type SecretObject,
  type SettingsDocument,
  type Upstream,
  type ValidateOptions,
} from '../../contract/resources/index.ts';
import { Secret } from '../../lib/secret.ts';
import {
  CORE_KINDS,
  isForCluster,
  isForeign,
  isList,
  ItemOrigin,
  itemsOf,
  spelled,
  type OtherObject,
  type Piece,
  type Target,
} from './manifests.ts';
import { decodeText } from './read.ts';
import { lookFurther, type Suspect } from './suspects.ts';
import { DocumentOrigin, placeOf, type Chunk, type YamlDocument } from './yaml.ts';

export const GROUP_VERSION = 'spooky.dev/v1alpha1';

export interface SourceFile {
  /** As messages show it. */
  readonly name: string;
  /** What relative paths in it start from; absolute. */
  readonly directory: string;
}

/** What a document turned out to be. */
export type Loaded =
  | { readonly kind: 'Listener'; readonly object: Resource<Listener> }
  | { readonly kind: 'Upstream'; readonly object: Resource<Upstream> }
  | { readonly kind: 'Secret'; readonly object: SecretObject }
  | { readonly kind: 'ConfigMap'; readonly object: ConfigMap }
  | { readonly kind: 'Settings'; readonly settings: SettingsDocument; readonly origin: Origin };

export interface Interpreted {
  readonly loaded: readonly Loaded[];
  readonly problems: readonly Problem[];
  /** Among them, those of a `Settings` document. */
  readonly settingsProblems: readonly Problem[];
  /** Absolute paths of files that specs refer to. */
  readonly files: readonly string[];
  /** What files of refused specs are still to be judged for. */
  readonly suspects: readonly Suspect[];
  /** Objects that were refused: their names are taken all the same. */
  readonly refused: readonly { readonly kind: string; readonly meta: ObjectMeta }[];
  /** Where the objects were written, to tell them when the text above grows. */
  readonly origins: readonly DocumentOrigin[];
  /** Of a cluster, and none of ours. */
  readonly others: readonly OtherObject[];
  /** Something in it can be meant for a cluster alone. */
  readonly forCluster: boolean;
  /** null for documents. */
  readonly classic: ClassicNeeds | null;
}

/** What the translation of a classic file depends on beside its text. */
export interface ClassicNeeds {
  /** What it asks of its certificates, once they are read. */
  readonly names: readonly ServerNameCheck[];
  /** Paths that it looked for, and whether they were there. */
  readonly looked: ReadonlyMap<string, boolean>;
}

/** A `server_name` of a classic file and the certificates beside which it is chosen. */
export interface ServerNameCheck {
  readonly serverName: string;
  readonly cert: string;
  /** Those of the same listener that could be chosen instead. */
  readonly others: readonly string[];
  readonly problem: (message: string) => Problem;
}

/** Of one document: nobody mends more at a time. */
export const MAX_PROBLEMS = 1000;

type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);

const KINDS: ReadonlyMap<string, readonly string[]> = new Map([
  [GROUP_VERSION, ['Listener', 'Upstream', 'Settings']],
  ['v1', ['Secret', 'ConfigMap']],
]);

const METADATA = ['name', 'namespace', 'labels', 'annotations'] as const;
/** What `kubectl get -o yaml` adds. */
const SERVER_METADATA: ReadonlySet<string> = new Set([
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'managedFields',
  'ownerReferences',
  'finalizers',
  'selfLink',
]);

/** Reads all documents of a chunk that are not classic configuration. */
export function interpret(file: SourceFile, chunk: Chunk, documents: readonly YamlDocument[], target: Target = 'files'): Interpreted {
  const result = {
    loaded: [] as Loaded[],
    problems: [] as Problem[],
    settingsProblems: [] as Problem[],
    files: [] as string[],
    suspects: [] as Suspect[],
    refused: [] as Interpreted['refused'][number][],
    origins: [] as DocumentOrigin[],
    others: [] as OtherObject[],
    forCluster: documents.some((d) => isForCluster(d.value)),
    classic: null,
  };
  for (const document of documents) {
    const origin = new DocumentOrigin(file.name, chunk, document.index);
    result.origins.push(origin);
    const pieces: Piece[] = (target === 'cluster' && isList(document.value) ? itemsOf(document) : null) ?? [{ document, at: '' }];
    for (const piece of pieces) take(new Interpreter({ file, chunk, origin, target }, piece).run());
  }
  return result;

  function take(one: Interpreter): void {
    if (one.loaded !== null) result.loaded.push(one.loaded);
    (one.kind === 'Settings' ? result.settingsProblems : result.problems).push(...one.problems);
    result.files.push(...one.files);
    result.suspects.push(...one.suspects);
    if (one.loaded === null && one.named !== null) result.refused.push({ kind: one.kind, meta: one.named });
    if (one.other !== null) result.others.push(one.other);
  }
}

/** What the objects of one document have in common. */
interface Place {
  readonly file: SourceFile;
  readonly chunk: Chunk;
  readonly origin: DocumentOrigin;
  readonly target: Target;
}

class Interpreter {
  readonly problems: Problem[] = [];
  readonly files: string[] = [];
  readonly suspects: Suspect[] = [];
  readonly origin: Origin;
  loaded: Loaded | null = null;
  other: OtherObject | null = null;
  /** Of an object that may have been refused since. */
  named: ObjectMeta | null = null;
  kind = '';
  private readonly file: SourceFile;
  private readonly chunk: Chunk;
  private readonly document: YamlDocument;
  private readonly target: Target;
  private readonly at: string;
  private label = '';

  constructor({ file, chunk, origin, target }: Place, { document, at }: Piece) {
    this.file = file;
    this.chunk = chunk;
    this.document = document;
    this.target = target;
    this.at = at;
    this.origin = at === '' ? origin : new ItemOrigin(origin, at);
  }

  run(): this {
    const { value } = this.document;
    if (this.target === 'cluster' && isFields(value) && isForeign(value)) {
      this.foreign(value);
      return this;
    }
    if (value !== undefined && !isFields(value))
      this.problem('', `must be a map of fields like apiVersion, kind and spec, not ${show(value)}`);
    const known = isFields(value) && this.known(value);
    this.textFaults();
    this.emptyMembers();
    if (isFields(value) && known) this.object(value);
    return this;
  }

  /** It is for others to judge. */
  private foreign(value: Fields): void {
    if (isList(value))
      this.problem(this.at === '' ? 'items' : 'kind', this.at === '' ? 'must be a list of objects' : 'a List in a List is not read');
    const { apiVersion, kind } = value as { readonly apiVersion: string; readonly kind: string };
    this.other = { apiVersion, kind, value, origin: this.origin, doubtful: this.document.faults.length > 0 };
  }

  private textFaults(): void {
    for (const f of this.document.faults) {
      if (f.ambiguous && this.kind === 'Settings') continue;
      // What stands in a Secret is never printed.
      const message = f.ambiguous && this.kind === 'Secret' ? 'must be in quotes: without them it is not text in a cluster' : f.message;
      const place = placeOf(this.chunk, f.offset);
      this.problems.push({
        severity: f.severity,
        file: this.file.name,
        ...place,
        object: this.label,
        path: spelled(this.at, f.path),
        message,
      });
    }
  }

  /** A field that nobody knows is a mistake without a value, too: above all one that was to restrict access. */
  private emptyMembers(): void {
    for (const { steps, offset } of this.document.empty) {
      if (steps[0] !== 'spec' || (this.kind === 'Settings' && steps.length > 1 && !SETTINGS.some((s) => s.name === steps[1]))) continue;
      const spec = this.kind === 'Listener' || this.kind === 'Upstream' ? this.kind : null;
      const fault = spec === null ? null : validateEmpty(spec, steps.slice(1), this.options);
      // So many warnings must not hide the first error.
      if (this.problems.length >= (fault === null ? MAX_PROBLEMS : 2 * MAX_PROBLEMS)) continue;
      const told = fault ?? { severity: 'warning', path: pathText(steps), message: 'has no value and counts as absent' };
      const path = spelled(this.at, told.path);
      this.problems.push({ ...told, path, file: this.file.name, ...placeOf(this.chunk, offset), object: this.label });
    }
  }

  private problem(path: string, message: string, severity: 'error' | 'warning' = 'error'): void {
    if (this.problems.length < MAX_PROBLEMS) this.problems.push(this.found(path, message, severity));
  }

  private found(path: string, message: string, severity: 'error' | 'warning' = 'error'): Problem {
    return { severity, file: this.file.name, ...this.origin.locate(path), object: this.label, path: spelled(this.at, path), message };
  }

  /** Whether it is of a kind that we read; says so when not. */
  private known(value: Fields): boolean {
    const { apiVersion, kind } = value;
    if (typeof apiVersion !== 'string') {
      this.problem(
        'apiVersion',
        apiVersion === undefined
          ? `is required: ${GROUP_VERSION}, or v1 for a Secret or ConfigMap`
          : `must be ${GROUP_VERSION} or v1, not ${show(apiVersion)}`,
      );
      return false;
    }
    const own = KINDS.get(apiVersion);
    if (own === undefined && this.target === 'cluster' && isForeign({ apiVersion, kind: 'Any' })) {
      this.problem('kind', kind === undefined ? 'is required' : `must be the name of a kind, not ${show(kind)}`);
      return false;
    }
    if (own === undefined) {
      const others =
        this.target === 'cluster' ? `${GROUP_VERSION}, or one of Kubernetes' own like v1 and apps/v1,` : `${GROUP_VERSION} or v1,`;
      this.problem('apiVersion', `must be ${others} not ${show(apiVersion)}`);
      return false;
    }
    const kinds = this.target === 'cluster' && apiVersion === 'v1' ? [...own, ...CORE_KINDS] : own;
    if (typeof kind !== 'string' || !kinds.includes(kind)) {
      const all = kinds.join(', ');
      this.problem(
        'kind',
        kind === undefined
          ? `is required: ${all}`
          : `must be one of ${all}, not ${show(kind)}${typeof kind === 'string' ? hint(kind, kinds) : ''}`,
      );
      return false;
    }
    this.kind = kind;
    const meta = value['metadata'];
    const name = isFields(meta) && typeof meta['name'] === 'string' ? meta['name'] : '?';
    const namespace = isFields(meta) && typeof meta['namespace'] === 'string' ? meta['namespace'] : 'default';
    this.label = kind === 'Settings' ? 'Settings' : `${kind} ${nameText(namespace, 63)}/${nameText(name, 253)}`;
    return true;
  }

  private object(value: Fields): void {
    if (this.kind === 'Settings') this.settings(value);
    else if (this.kind === 'Secret') this.secret(value);
    else if (this.kind === 'ConfigMap') this.configMap(value);
    else this.resource(value);
  }

  private resource(value: Fields): void {
    this.only(value, ['apiVersion', 'kind', 'metadata', 'spec', 'status'], []);
    const meta = this.meta(value['metadata']);
    const spec = value['spec'];
    if (!isFields(spec)) {
      this.problem('spec', spec === undefined ? 'is required' : `must be a map of fields, not ${show(spec)}`);
      return;
    }
    const { options } = this;
    if (this.kind === 'Listener') {
      const { value: listener, faults } = validateListener(spec, options);
      this.report(faults);
      if (listener === null || meta === null || this.failed()) {
        this.suspect(spec, meta);
        return;
      }
      this.loaded = { kind: 'Listener', object: { meta, spec: options.standalone ? anchorListener(listener, this.absolute) : listener } };
    } else {
      const { value: upstream, faults } = validateUpstream(spec, options);
      this.report(faults);
      if (upstream === null || meta === null || this.failed()) {
        this.suspect(spec, meta);
        return;
      }
      this.loaded = { kind: 'Upstream', object: { meta, spec: options.standalone ? anchorUpstream(upstream, this.absolute) : upstream } };
    }
  }

  private suspect(spec: Fields, meta: ObjectMeta | null): void {
    const { standalone } = this.options;
    const { faults, references } = lookFurther(spec, standalone ? this.absolute : (path) => path, meta?.namespace);
    for (const f of faults) this.problem(f.path, f.message);
    // In a cluster there are no files, and what is named may be there without being here.
    if (!standalone) return;
    for (const { path, ...rest } of references) this.suspects.push({ ...rest, problem: (message) => this.found(path, message) });
  }

  private get options(): ValidateOptions {
    return { standalone: this.target === 'files', unknown: 'refuse' };
  }

  private readonly absolute = (path: string): string => {
    const absolute = resolve(this.file.directory, path);
    this.files.push(absolute);
    return absolute;
  };

  /** A fault of the text and one of the schema at the same place are one. */
  private report(faults: readonly Fault[]): void {
    for (const f of faults) {
      const path = spelled(this.at, f.path);
      const i = this.problems.findIndex((p) => p.path === path && p.severity === 'error');
      const said = this.problems[i];
      if (said === undefined) this.problem(f.path, f.message, f.severity);
      else if (this.document.faults.some((t) => t.ambiguous && t.path === f.path) && !said.message.startsWith(f.message))
        this.problems[i] = { ...said, message: `${f.message}; ${said.message}` };
      else if (said.message !== f.message) this.problem(f.path, f.message, f.severity);
    }
  }

  private failed(): boolean {
    return this.problems.some((p) => p.severity === 'error');
  }

  /** Refuses members that a document of this kind does not have. */
  private only(value: Fields, known: readonly string[], steps: readonly string[]): void {
    const empty = this.document.empty.flatMap((e) =>
      e.steps.length === steps.length + 1 && steps.every((s, i) => e.steps[i] === s) ? [String(e.steps[steps.length])] : [],
    );
    for (const name of [...Object.keys(value), ...empty])
      if (!known.includes(name)) this.problem(pathText([...steps, name]), `is unknown${suggestion(name, known)}`);
  }

  private meta(value: unknown): ObjectMeta | null {
    if (!isFields(value)) {
      this.problem('metadata', value === undefined ? 'is required, with a name' : `must be a map of fields, not ${show(value)}`);
      return null;
    }
    for (const name of Object.keys(value))
      if (!(METADATA as readonly string[]).includes(name) && !SERVER_METADATA.has(name))
        this.problem(pathText(['metadata', name]), `is unknown${suggestion(name, METADATA)}`);
    const name = this.metaName(value['name']);
    const namespace = value['namespace'] ?? 'default';
    if (typeof namespace !== 'string' || namespace.length > 63 || !matchesPattern('namespace', namespace)) {
      this.problem('metadata.namespace', `must be a namespace: at most 63 lower-case letters, digits and "-", not ${show(namespace)}`);
      return null;
    }
    const labels = this.labels(value['labels']);
    if (name === null) return null;
    const created = createdAt(value['creationTimestamp']);
    this.named = { namespace, name, uid: '', generation: 0, created, labels: labels ?? new Map(), origin: this.origin };
    return labels === null ? null : this.named;
  }

  private metaName(name: unknown): string | null {
    if (typeof name === 'string' && name.length <= 253 && matchesPattern('objectName', name)) return name;
    const what = 'an object name: at most 253 lower-case letters, digits, "-" and "."';
    this.problem('metadata.name', name === undefined ? `is required: ${what}` : `must be ${what}, not ${show(name)}`);
    return null;
  }

  private labels(value: unknown): Map<string, string> | null {
    const labels = new Map<string, string>();
    if (value === undefined) return labels;
    if (!isFields(value)) {
      this.problem('metadata.labels', `must be a map of text, not ${show(value)}`);
      return null;
    }
    for (const [name, text] of Object.entries(value)) {
      if (typeof text === 'string') labels.set(name, text);
      else {
        this.problem(pathText(['metadata', 'labels', name]), `must be text, not ${show(text)}: put it in quotes`);
        return null;
      }
    }
    return labels;
  }

  private settings(value: Fields): void {
    if (this.target === 'cluster')
      this.problem('kind', "Settings are for files: a cluster has the chart's values, and the flags of serve --kubernetes");
    this.only(value, ['apiVersion', 'kind', 'metadata', 'spec'], []);
    const spec = value['spec'] ?? {};
    if (!isFields(spec)) {
      this.problem('spec', `must be a map of fields, not ${show(spec)}`);
      return;
    }
    this.only(spec, SETTINGS.map((s) => s.name), ['spec']); // prettier-ignore
    const { settings, faults } = readSettings(spec);
    for (const f of faults) this.problem(pathText(['spec', f.name]), f.message);
    this.loaded = { kind: 'Settings', settings, origin: this.origin };
  }

  private secret(value: Fields): void {
    this.only(value, ['apiVersion', 'kind', 'metadata', 'type', 'data', 'stringData', 'immutable'], []);
    const meta = this.meta(value['metadata']);
    const type = value['type'] ?? 'Opaque';
    if (typeof type !== 'string') this.problem('type', 'must be text like kubernetes.io/tls');
    const data = new Map<string, Secret>();
    for (const [key, text] of this.texts(value['data'], 'data')) {
      const bytes = decodeBase64(text);
      if (bytes === null) this.problem(pathText(['data', key]), 'must be base64; plain text belongs in stringData');
      else data.set(key, new Secret(bytes));
    }
    for (const [key, text] of this.texts(value['stringData'], 'stringData')) data.set(key, new Secret(Buffer.from(text, 'utf8')));
    if (meta !== null && typeof type === 'string' && !this.failed()) this.loaded = { kind: 'Secret', object: { meta, type, data } };
  }

  private configMap(value: Fields): void {
    this.only(value, ['apiVersion', 'kind', 'metadata', 'data', 'binaryData', 'immutable'], []);
    const meta = this.meta(value['metadata']);
    const data = new Map(this.texts(value['data'], 'data'));
    for (const [key, text] of this.texts(value['binaryData'], 'binaryData')) {
      const bytes = decodeBase64(text);
      const decoded = bytes === null ? null : decodeText(bytes);
      if (bytes === null) this.problem(pathText(['binaryData', key]), 'must be base64');
      else if (decoded !== null) data.set(key, decoded);
    }
    if (meta !== null && !this.failed()) this.loaded = { kind: 'ConfigMap', object: { meta, data } };
  }

  /** The entries of a map of text. Values are not shown: they may be keys. */
  private texts(value: unknown, member: string): [string, string][] {
    if (value === undefined) return [];
    if (!isFields(value)) {
      this.problem(member, 'must be a map of text');
      return [];
    }
    return Object.entries(value).filter((e): e is [string, string] => {
      if (typeof e[1] !== 'string') this.problem(pathText([member, e[0]]), 'must be text: put it in quotes');
      else if (!/^[A-Za-z0-9._-]{1,253}$/.test(e[0]))
        this.problem(pathText([member, e[0]]), 'must be a key of letters, digits, "-", "_" and "."');
      else return true;
      return false;
    });
  }
}

/** As written when it is a name, else so that it can be printed. */
const nameText = (name: string, max: number): string =>
  name === '?' || (name.length <= max && matchesPattern('label', name)) ? name : show(name);

const hint = (word: string, known: readonly string[]): string => {
  const text = suggestion(word, known);
  return text.startsWith(' (') ? text : '';
};

const createdAt = (value: unknown): number => {
  const ms = typeof value === 'string' && /^\d{4}-\d{2}-\d{2}T/.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isFinite(ms) ? ms : 0;
};

/** Strict, unlike `Buffer.from`, which skips what it does not know. */
function decodeBase64(text: string): Buffer | null {
  const packed = text.replaceAll(/[\r\n]/g, '');
  return packed.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(packed) ? Buffer.from(packed, 'base64') : null;
}

type Absolute = (path: string) => string;

/** The same spec with the paths of its files absolute. */
export function anchorListener(spec: Listener, absolute: Absolute): Listener {
  const refs = spec.tls.certificateRefs;
  if (refs === undefined) return spec;
  return {
    ...spec,
    tls: { ...spec.tls, certificateRefs: refs.map((r) => (r.files === undefined ? r : { ...r, files: pair(r.files, absolute) })) },
  };
}

export function anchorUpstream(spec: Upstream, absolute: Absolute): Upstream {
  return {
    ...spec,
    ...(spec.tls === undefined ? {} : { tls: anchorTls(spec.tls, absolute) }),
    backends: spec.backends.map((b) => (b.tls === undefined ? b : { ...b, tls: anchorTls(b.tls, absolute) })),
  };
}

const pair = (files: { cert: string; key: string }, absolute: Absolute) => ({ cert: absolute(files.cert), key: absolute(files.key) });

function anchorTls(tls: BackendTls, absolute: Absolute): BackendTls {
  const ca = tls.caRef?.files;
  const client = tls.clientCertificateRef?.files;
  return {
    ...tls,
    ...(ca === undefined ? {} : { caRef: { ...tls.caRef, kind: tls.caRef?.kind ?? 'ConfigMap', files: { ca: absolute(ca.ca) } } }),
    ...(client === undefined ? {} : { clientCertificateRef: { ...tls.clientCertificateRef, files: pair(client, absolute) } }),
  };
}
