/** Step 2: what each Upstream says for itself: hostnames and matches in the form in which requests are matched. */
import { objectKey, type Resource, type Upstream, type UpstreamMatch } from '../../contract/resources/index.ts';
import type { FieldMatch, RouteMatch } from '../../contract/snapshot/index.ts';
import { normalisePattern } from '../../contract/routes/host.ts';
import { canonicalPath } from '../../contract/routes/path.ts';
import { matchIdentity } from '../../contract/routes/rank.ts';
import { compilePattern } from '../../contract/routes/regex.ts';
import { byAge, byName, UpstreamDraft, type Draft, type UpstreamFacts } from './draft.ts';
import { Library } from './reads.ts';

export function upstreams(draft: Draft): void {
  const { kept } = draft;
  const library = new Library(draft.set, draft.cluster);
  const fresh: UpstreamDraft[] = [];
  kept.compiles++;
  // Ten thousand, of which few are new: an object for each, if only for a moment, is a megabyte for V8 to collect.
  draft.set.upstreams.forEach((resource) => {
    // One that holds concerned us, and has the same Listeners.
    if (!kept.holds(draft, resource, library) && concernsUs(draft, resource)) fresh.push(made(draft, resource));
  });
  draft.fresh = fresh.sort(older);
  draft.gone = kept.upstreams.filter((upstream) => upstream.heldIn !== kept.compiles);
  for (const { resource } of draft.gone) kept.byResource.delete(resource);
  for (const upstream of fresh) kept.byResource.set(upstream.resource, upstream);
  kept.upstreams = merged(kept.upstreams, draft, older);
  kept.byName = merged(kept.byName, draft, (a, b) => byName(a.name, b.name));
  draft.upstreams = kept.upstreams;
  for (const upstream of fresh) {
    for (const fault of upstream.facts.faults) draft.refuse(upstream, fault.path, { reason: 'Invalid', message: fault.message });
    for (const warning of upstream.facts.warnings) draft.report('warning', upstream, warning.path, warning.message);
  }
}

function made({ memo, kept }: Draft, resource: Resource<Upstream>): UpstreamDraft {
  const { meta, spec } = resource;
  const text = (): string => JSON.stringify([meta.namespace, meta.name, spec]);
  const facts = memo.of(spec, 'upstream', text, () => readUpstream(spec));
  return new UpstreamDraft(resource, facts, kept.compiles);
}

const older = (a: UpstreamDraft, b: UpstreamDraft): number => byAge(a.resource, b.resource);

/** More than these are not looked for one by one. */
const FEW = 100;

/** The list is changed where it stands: each is put where it belongs. */
function merged(list: UpstreamDraft[], { fresh, gone }: Draft, compare: (a: UpstreamDraft, b: UpstreamDraft) => number): UpstreamDraft[] {
  if (fresh.length + gone.length > FEW) {
    const left = new Set(gone);
    return [...list.filter((upstream) => !left.has(upstream)), ...fresh].sort(compare);
  }
  for (const upstream of gone) list.splice(placeOf(list, upstream, compare), 1);
  for (const upstream of fresh) list.splice(placeOf(list, upstream, compare), 0, upstream);
  return list;
}

/** No two are equal. */
function placeOf(list: readonly UpstreamDraft[], upstream: UpstreamDraft, compare: (a: UpstreamDraft, b: UpstreamDraft) => number): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(list[middle] as UpstreamDraft, upstream) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** One that names only Listeners of other classes is theirs: nothing is said of it. */
const concernsUs = ({ cluster }: Draft, { spec }: Resource<Upstream>): boolean =>
  cluster === null || spec.listeners === undefined || !spec.listeners.every((l) => cluster.isForeign(objectKey(l.namespace, l.name)));

interface Notes {
  readonly faults: { path: string; message: string }[];
  readonly warnings: { path: string; message: string }[];
}

function readUpstream(spec: Upstream): UpstreamFacts {
  const notes: Notes = { faults: [], warnings: [] };
  return { hostnames: readHostnames(spec, notes), matches: readMatches(spec, notes), ...notes };
}

function readHostnames(spec: Upstream, notes: Notes): string[] {
  const names = new Set<string>();
  spec.hostnames.forEach((raw, i) => {
    const name = normalisePattern(raw);
    const path = `spec.hostnames[${i}]`;
    if (name === null) notes.faults.push({ path, message: `${JSON.stringify(raw)} is not a host name` });
    else if (names.has(name)) notes.warnings.push({ path, message: `${name} is there twice` });
    else names.add(name);
  });
  return [...names];
}

function readMatches(spec: Upstream, notes: Notes): UpstreamFacts['matches'][number][] {
  const found = new Map<string, UpstreamFacts['matches'][number]>();
  const add = (index: number, match: RouteMatch): void => {
    const identity = matchIdentity(match);
    const first = found.get(identity);
    if (first === undefined) found.set(identity, { index, match, identity });
    else notes.warnings.push({ path: `spec.matches[${index}]`, message: `is the same as spec.matches[${first.index}]` });
  };
  if (spec.matches === undefined) add(-1, { path: null, methods: [], headers: [], query: [] });
  spec.matches?.forEach((match, i) => {
    const read = readMatch(match, `spec.matches[${i}]`, notes);
    if (read !== null) add(i, read);
  });
  return [...found.values()];
}

/** RFC 9114 s4.2: a request that has one is malformed. */
const OF_CONNECTIONS = new Set(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']);

/** Why no request that is matched has this header, or null. */
function neverThere(header: string): string | null {
  if (header === 'host') return 'host never matches: which hosts are meant is said by spec.hostnames';
  return OF_CONNECTIONS.has(header) ? `${header} never matches: requests over HTTP/3 may not have it` : null;
}

const BEYOND_ASCII = /[^ -~]/;
const BEYOND_ASCII_MESSAGE = 'characters beyond ASCII match nothing: paths are matched in ASCII, é as %C3%A9';

function readMatch(match: UpstreamMatch, at: string, notes: Notes): RouteMatch | null {
  const before = notes.faults.length;
  const path = match.path === undefined ? null : readPath(match.path, `${at}.path.value`, notes);
  const headers = readFields(match.headers ?? [], `${at}.headers`, notes);
  match.headers?.forEach(({ name }, i) => {
    const message = neverThere(name);
    if (message !== null) notes.warnings.push({ path: `${at}.headers[${i}].name`, message });
  });
  const query = readFields(match.query ?? [], `${at}.query`, notes);
  return notes.faults.length > before ? null : { path, methods: match.methods ?? [], headers, query };
}

function readPath(path: NonNullable<UpstreamMatch['path']>, at: string, notes: Notes): RouteMatch['path'] {
  if (path.type === 'Regex') {
    const compiled = compilePattern(path.value);
    if (!compiled.ok) notes.faults.push({ path: at, message: compiled.error });
    else if (BEYOND_ASCII.test(path.value)) notes.warnings.push({ path: at, message: BEYOND_ASCII_MESSAGE });
    return { type: 'Regex', value: path.value };
  }
  const value = canonicalPath(path.value);
  if (value === null) notes.faults.push({ path: at, message: `${JSON.stringify(path.value)} is not a path that a request can have` });
  return { type: path.type, value: value ?? '/' };
}

function readFields(list: NonNullable<UpstreamMatch['query']>, at: string, notes: Notes): FieldMatch[] {
  return list.map((field, i) => {
    const value = field.value ?? '';
    if (field.type === 'Regex') {
      const compiled = compilePattern(value);
      if (!compiled.ok) notes.faults.push({ path: `${at}[${i}].value`, message: compiled.error });
    }
    return { name: field.name, type: field.type, value };
  });
}
