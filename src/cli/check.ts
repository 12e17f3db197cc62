/** Everything that is wrong with a configuration, without serving it. */
import { SETTINGS, type Problem, type ResourceSet } from '../contract/resources/index.ts';
import { compile } from '../control/compile/index.ts';
import { untimelyCertificates } from '../control/validity.ts';
import { ownProblems } from '../control/problems.ts';
import { loadPaths, type LoadResult } from '../control/sources/load.ts';
import type { SourceState } from '../control/sources/source.ts';
import type { Target } from '../control/sources/manifests.ts';
import { systemClock } from '../lib/clock.ts';
import { readServeSettings } from '../settings.ts';
import { printable } from './printable.ts';
import { EXIT, readArguments, usageFault, type Arguments, type Command } from './command.ts';

export const check: Command = {
  name: 'check',
  summary: 'Check configuration files: documents, for files or for a cluster, or a classic config.yaml.',
  usage: 'spooky check PATH... [--kubernetes|--standalone] [--output text|json]',
  options: [
    { flag: '--kubernetes', help: 'Judge the documents as objects of a cluster.', default: 'by what they are' },
    { flag: '--standalone', help: 'Judge them as files that serve --config has.', default: 'by what they are' },
    { flag: '--output', value: 'text|json', help: 'The form of the output.', default: 'text' },
  ],
  details: [
    'Each problem is a line: file:line:column: field.path: what is wrong, what would be right.',
    'With neither flag, documents go to a cluster when one of them has no other place: a kind of Kubernetes or of others, a List, an Upstream with a Service, a Listener that selects namespaces by labels.',
    'For a cluster, objects that are not among the documents may be there all the same: Services, Secrets and namespaces are looked into when they are, and a reference into another namespace without its ReferenceGrant is a warning.',
    'Exit codes: 0 nothing wrong (warnings may have been printed); 1 problems; 2 usage.',
  ].join('\n'),
  async run(args, io) {
    const read = readArguments(check, args, io);
    if (read.arguments === null) return read.exit;
    const given = read.arguments;
    const output = given.value('--output') ?? 'text';
    if (output !== 'text' && output !== 'json') return usageFault(check, '--output must be text or json', io);
    if (given.has('--kubernetes') && given.has('--standalone'))
      return usageFault(check, '--kubernetes and --standalone exclude each other', io);
    if (given.positional.length === 0) return usageFault(check, 'needs a file or a directory', io);
    if (given.positional.includes('')) return usageFault(check, 'needs a file or a directory, not an empty path', io);
    const judged = await judge(given.positional, targetOf(given), io.cwd);
    io.stdout(output === 'json' ? jsonReport(judged) : textReport(judged));
    return judged.problems.some((p) => p.severity === 'error') ? EXIT.invalid : EXIT.ok;
  },
};

/** null: by what the documents are. */
const targetOf = (given: Arguments): Target | null => (given.has('--kubernetes') ? 'cluster' : given.has('--standalone') ? 'files' : null);

interface Judged {
  readonly target: Target;
  readonly set: ResourceSet;
  readonly others: number;
  readonly problems: readonly Problem[];
}

async function judge(paths: readonly string[], asked: Target | null, cwd: string): Promise<Judged> {
  const first = await loadPaths(paths, { cwd, target: asked ?? 'files' });
  const target = asked ?? (first.forCluster ? 'cluster' : 'files');
  const { state, others } = asked === null && target === 'cluster' ? await loadPaths(paths, { cwd, target }) : first;
  const problems =
    target === 'files'
      ? [...judgeFiles(state), ...judgeSettings(first)]
      : (await import('./check/cluster.ts')).judgeCluster(state.set, others);
  return { target, set: state.set, others: others.length, problems: allProblems(state, problems) };
}

function judgeFiles(state: SourceState): Problem[] {
  const compiled = compile(state.set, { standalone: true });
  return [...ownProblems(state, compiled), ...untimelyCertificates(state.set, compiled, systemClock.wall())];
}

/** What no setting can tell by itself. Flags and the environment of `serve` may say otherwise: a warning. */
function judgeSettings({ state, settingsOrigin }: LoadResult): Problem[] {
  if (state.settings === null || state.settingsProblems.length > 0) return [];
  const read = readServeSettings({ flags: new Map(), env: {}, document: state.settings });
  if (read.ok) return [];
  const written: ReadonlyMap<string, unknown> = new Map(Object.entries(state.settings));
  return read.error.map(({ source, message }): Problem => {
    const name = SETTINGS.find((s) => s.flag === source)?.name ?? '';
    const path = written.has(name) ? `spec.${name}` : '';
    return {
      severity: 'warning',
      file: settingsOrigin?.file ?? '',
      ...(settingsOrigin?.locate(path) ?? { line: 0, column: 0 }),
      object: 'Settings',
      path: path === '' ? source : (settingsOrigin?.spell?.(path) ?? path),
      message: `${message}: serve does not start with it, unless a flag or its environment says otherwise`,
    };
  });
}

/** What the loader and compile say, in the order of the files. */
function allProblems(state: SourceState, judged: readonly Problem[]): Problem[] {
  const all = new Map<string, Problem>();
  for (const p of [...state.problems, ...state.settingsProblems, ...judged])
    all.set(JSON.stringify([p.file, p.line, p.column, p.object, p.path, p.message]), p);
  return [...all.values()].sort(
    (a, b) => compareText(a.file, b.file) || a.line - b.line || a.column - b.column || compareText(a.path, b.path),
  );
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export function problemText(p: Problem): string {
  const place = p.line > 0 ? `${p.file}:${p.line}:${p.column}` : p.file;
  const message = p.severity === 'warning' ? `warning: ${p.message}` : p.message;
  return printable([place, p.path, message].filter((s) => s !== '').join(': '));
}

const JUDGED: Readonly<Record<Target, string>> = { files: 'judged as files', cluster: 'judged as objects of a cluster' };

function textReport(judged: Judged): string {
  const lines = judged.problems.map(problemText);
  const errors = judged.problems.filter((p) => p.severity === 'error').length;
  const summary = errors > 0 ? `${counted(errors, 'problem')} found` : `nothing wrong with ${inventory(judged)}`;
  return `${[...lines, `${summary}, ${JUDGED[judged.target]}`].join('\n')}\n`;
}

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

function inventory({ target, set, others }: Judged): string {
  return [
    counted(set.listeners.size, 'Listener'),
    counted(set.upstreams.size, 'Upstream'),
    counted(set.secrets.size, 'Secret'),
    counted(set.configMaps.size, 'ConfigMap'),
    ...(target === 'cluster' ? [`${others} of other kinds`] : []),
  ].join(', ');
}

function jsonReport({ target, set, others, problems }: Judged): string {
  const { listeners, upstreams, secrets, configMaps } = set;
  const objects = {
    listeners: listeners.size,
    upstreams: upstreams.size,
    secrets: secrets.size,
    configMaps: configMaps.size,
    ...(target === 'cluster' ? { others } : {}),
  };
  const fields = problems.map(({ severity, file, line, column, object, path, message }) => ({
    severity,
    file,
    line,
    column,
    object,
    path,
    message,
  }));
  return `${JSON.stringify({ problems: fields, objects, judgedAs: target }, null, 2)}\n`;
}
