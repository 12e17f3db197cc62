/** Everything that is wrong with a configuration, without serving it. */
import type { Problem, ResourceSet } from '../contract/resources/index.ts';
import { compile } from '../control/compile/index.ts';
import { loadPaths } from '../control/sources/load.ts';
import type { SourceState } from '../control/sources/source.ts';
import { EXIT, readArguments, usageFault, type Command } from './command.ts';

export const check: Command = {
  name: 'check',
  summary: 'Check configuration files: documents or a classic config.yaml.',
  usage: 'spooky check PATH... [--output text|json]',
  options: [{ flag: '--output', value: 'text|json', help: 'The form of the output.', default: 'text' }],
  details: [
    'Each problem is a line: file:line:column: field.path: what is wrong, what would be right.',
    'Exit codes: 0 nothing wrong (warnings may have been printed); 1 problems; 2 usage.',
  ].join('\n'),
  async run(args, io) {
    const read = readArguments(check, args, io);
    if (read.arguments === null) return read.exit;
    const paths = read.arguments.positional;
    const output = read.arguments.value('--output') ?? 'text';
    if (output !== 'text' && output !== 'json') return usageFault(check, '--output must be text or json', io);
    if (paths.length === 0) return usageFault(check, 'needs a file or a directory', io);
    const { state } = await loadPaths(paths, { cwd: io.cwd });
    const problems = allProblems(state);
    io.stdout(output === 'json' ? jsonReport(state, problems) : textReport(state, problems));
    return problems.some((p) => p.severity === 'error') ? EXIT.invalid : EXIT.ok;
  },
};

/** What the loader and compile say, in the order of the files. */
function allProblems(state: SourceState): Problem[] {
  const compiled = compile(state.set, { standalone: true });
  const all = new Map<string, Problem>();
  for (const p of [...state.problems, ...state.settingsProblems, ...compiled.problems])
    all.set(JSON.stringify([p.file, p.line, p.column, p.object, p.path, p.message]), p);
  return [...all.values()].sort(
    (a, b) => compareText(a.file, b.file) || a.line - b.line || a.column - b.column || compareText(a.path, b.path),
  );
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** A file's name may hold anything; a terminal must not act on it. */
const printable = (text: string): string =>
  text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);

export function problemText(p: Problem): string {
  const place = p.line > 0 ? `${p.file}:${p.line}:${p.column}` : p.file;
  const message = p.severity === 'warning' ? `warning: ${p.message}` : p.message;
  return printable([place, p.path, message].filter((s) => s !== '').join(': '));
}

function textReport(state: SourceState, problems: readonly Problem[]): string {
  const lines = problems.map(problemText);
  const errors = problems.filter((p) => p.severity === 'error').length;
  if (errors > 0) lines.push(`${counted(errors, 'problem')} found`);
  else lines.push(`nothing wrong with ${inventory(state.set)}`);
  return `${lines.join('\n')}\n`;
}

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

function inventory(set: ResourceSet): string {
  return [
    counted(set.listeners.size, 'Listener'),
    counted(set.upstreams.size, 'Upstream'),
    counted(set.secrets.size, 'Secret'),
    counted(set.configMaps.size, 'ConfigMap'),
  ].join(', ');
}

function jsonReport(state: SourceState, problems: readonly Problem[]): string {
  const { listeners, upstreams, secrets, configMaps } = state.set;
  const objects = { listeners: listeners.size, upstreams: upstreams.size, secrets: secrets.size, configMaps: configMaps.size };
  const fields = problems.map(({ severity, file, line, column, object, path, message }) => ({
    severity,
    file,
    line,
    column,
    object,
    path,
    message,
  }));
  return `${JSON.stringify({ problems: fields, objects }, null, 2)}\n`;
}
