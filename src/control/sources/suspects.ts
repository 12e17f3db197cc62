/** What else is wrong with a spec that its schema refused: expressions, files and named objects, each judged for itself, so that everything is told at once. */
import { pathText, type FileContent, type PathStep, type Problem } from '../../contract/resources/index.ts';
import { compilePattern } from '../../contract/routes/regex.ts';
import { faultyFile, inspectBundle, inspectCertificate } from '../../contract/tls.ts';

export interface NamedObject {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly namespace: string;
  readonly name: string;
}

/** A certificate with its key, or a bundle, that a refused spec refers to: by its files or by an object's name. */
export interface Suspect {
  readonly object: NamedObject | null;
  readonly files: Readonly<Partial<Record<Member, string>>>;
  readonly purpose: 'server' | 'client';
  readonly problem: (message: string) => Problem;
}

type Member = (typeof MEMBERS)[number];
const MEMBERS = ['cert', 'key', 'ca'] as const;

export interface Findings {
  readonly faults: readonly { readonly path: string; readonly message: string }[];
  readonly references: readonly (Omit<Suspect, 'problem'> & { readonly path: string })[];
}

/** More of either no accepted spec has. */
const MAX_EXPRESSIONS = 1088;
const MAX_REFERENCES = 96;
const MAX_PATTERN = 1024;

/** The members that refer to objects, and the kind that is meant where none is given. */
const REFERRING: ReadonlyMap<PathStep, NamedObject['kind']> = new Map([
  ['certificateRefs', 'Secret'],
  ['clientCertificateRef', 'Secret'],
  ['caRef', 'ConfigMap'],
]);

/** `absolute` makes a path of the spec one that can be read, and notes it; `namespace` is the object's own. */
export function lookFurther(spec: unknown, absolute: (path: string) => string, namespace = 'default'): Findings {
  const faults: { path: string; message: string }[] = [];
  const references: Findings['references'][number][] = [];
  let expressions = 0;

  const expression = (value: object, steps: readonly PathStep[]): void => {
    const { type, value: pattern } = value as { type?: unknown; value?: unknown };
    if (type !== 'Regex' || typeof pattern !== 'string' || pattern === '' || pattern.length > MAX_PATTERN) return;
    if (++expressions > MAX_EXPRESSIONS) return;
    const compiled = compilePattern(pattern);
    if (!compiled.ok) faults.push({ path: pathText([...steps, 'value']), message: compiled.error });
  };

  const reference = (value: unknown, steps: readonly PathStep[]): void => {
    if (typeof value !== 'object' || value === null || references.length >= MAX_REFERENCES) return;
    const given = Object.entries(value).filter(
      (e): e is [Member, string] =>
        (MEMBERS as readonly string[]).includes(e[0]) && typeof e[1] === 'string' && e[1] !== '' && !e[1].includes('\0'),
    );
    const files = Object.fromEntries(given.map(([member, path]) => [member, absolute(path)]));
    references.push({ path: pathText(steps), object: null, files, purpose: purposeOf(steps) });
  };

  const named = (value: object, steps: readonly PathStep[]): void => {
    const last = steps.at(-1) as PathStep;
    const meant = REFERRING.get(typeof last === 'number' ? (steps.at(-2) as PathStep) : last);
    const given = value as { name?: unknown; namespace?: unknown; kind?: unknown };
    if (meant === undefined || typeof given.name !== 'string' || given.name === '' || references.length >= MAX_REFERENCES) return;
    const kind = given.kind === 'Secret' || given.kind === 'ConfigMap' ? given.kind : meant;
    const object = { kind, namespace: typeof given.namespace === 'string' ? given.namespace : namespace, name: given.name };
    references.push({ path: pathText(steps), object, files: {}, purpose: purposeOf(steps) });
  };

  const walk = (value: unknown, steps: readonly PathStep[]): void => {
    if (typeof value !== 'object' || value === null) return;
    if (steps[1] === 'matches') expression(value, steps);
    else named(value, steps);
    const entries: [PathStep, unknown][] = Array.isArray(value) ? value.map((item: unknown, i) => [i, item]) : Object.entries(value);
    for (const [step, inner] of entries) {
      if (step === 'files') reference(inner, steps);
      else walk(inner, [...steps, step]);
    }
  };
  walk(spec, ['spec']);
  return { faults, references };
}

const purposeOf = (steps: readonly PathStep[]): Suspect['purpose'] => (steps.includes('clientCertificateRef') ? 'client' : 'server');

/** Several specs may have one reference from one place, as those of a classic file do: it is told once. */
export function judgeAll(
  suspects: readonly Suspect[],
  contents: ReadonlyMap<string, FileContent>,
  exists: (object: NamedObject) => boolean,
): Problem[] {
  const all = new Map<string, Problem>();
  for (const suspect of suspects) {
    const { object } = suspect;
    const missing =
      object === null || exists(object) ? [] : [suspect.problem(`there is no ${object.kind} ${object.namespace}/${object.name}`)];
    for (const p of [...missing, ...judge(suspect, contents)]) all.set(JSON.stringify([p.file, p.line, p.column, p.path, p.message]), p);
  }
  return [...all.values()];
}

/** The same words that compile has for objects that are served. */
function judge(suspect: Suspect, contents: ReadonlyMap<string, FileContent>): Problem[] {
  const read = new Map<Member, Uint8Array>();
  const problems: Problem[] = [];
  for (const member of MEMBERS) {
    const path = suspect.files[member];
    const content = path === undefined ? undefined : contents.get(path);
    if (content === undefined) continue;
    if (content.ok) read.set(member, content.bytes);
    else problems.push(suspect.problem(`${path}: ${content.problem}`));
  }
  const [cert, key, ca] = MEMBERS.map((m) => read.get(m));
  if (cert !== undefined && key !== undefined) {
    const pair = inspectCertificate(cert, key, suspect.purpose);
    const { cert: certFile = '', key: keyFile = '' } = suspect.files;
    if (!pair.ok) problems.push(suspect.problem(`${faultyFile({ cert: certFile, key: keyFile }, key, pair.error)}: ${pair.error}`));
  }
  const bundle = ca === undefined ? null : inspectBundle(ca);
  if (bundle !== null && !bundle.ok) problems.push(suspect.problem(`${suspect.files.ca}: ${bundle.error}`));
  return problems;
}
