/** What a command of `spooky` is, and the one strict reader of arguments. */
import { closest } from '../lib/closest.ts';
import { err, ok, type Result } from '../lib/result.ts';

/** What a command may touch of the process; tests hand in their own. */
export interface CommandIo {
  stdout(text: string): void;
  stderr(text: string): void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

export interface CommandOption {
  /** `--log-level`, or `-H`. */
  readonly flag: string;
  /** The placeholder of its value; absent: the flag has none. */
  readonly value?: string;
  readonly help: string;
  /** As `--help` shows it. */
  readonly default?: string;
  /** May be given several times. */
  readonly repeat?: true;
}

export interface Command {
  readonly name: string;
  readonly summary: string;
  /** `spooky check PATH... [--output text|json]` */
  readonly usage: string;
  readonly options: readonly CommandOption[];
  /** Further text of `--help`. */
  readonly details?: string;
  /** The exit code. `args` come after the command's name. */
  run(args: readonly string[], io: CommandIo): Promise<number>;
}

export const EXIT = { ok: 0, invalid: 1, usage: 2, bind: 3, engine: 4, failed: 5 } as const;

export class Arguments {
  readonly positional: readonly string[];
  private readonly given: ReadonlyMap<string, readonly string[]>;

  constructor(positional: readonly string[], given: ReadonlyMap<string, readonly string[]>) {
    this.positional = positional;
    this.given = given;
  }

  has(flag: string): boolean {
    return this.given.has(flag);
  }

  /** The value of a flag, or null. */
  value(flag: string): string | null {
    return this.given.get(flag)?.[0] ?? null;
  }

  /** All values of a flag that may be repeated. */
  values(flag: string): readonly string[] {
    return this.given.get(flag) ?? [];
  }

  get help(): boolean {
    return this.has('--help');
  }
}

const HELP: CommandOption = { flag: '--help', help: 'Show this text.' };

/**
 * `--flag value`, `--flag=value`, `-H value`, `-Hvalue`; `--` ends the flags. `--help` and `-h` are always known, and with one of them nothing else is judged.
 * What is unknown, repeated without leave, or lacks its value is an error.
 */
export function parseArguments(args: readonly string[], options: readonly CommandOption[]): Result<Arguments, string> {
  const known = new Map([...options, HELP].map((o) => [o.flag, o]));
  const given = new Map<string, string[]>();
  const positional: string[] = [];
  const end = args.indexOf('--');
  const flags = end < 0 ? args : args.slice(0, end);
  if (flags.includes('--help') || flags.includes('-h')) return ok(new Arguments([], new Map([['--help', []]])));
  for (let i = 0; i < flags.length; i++) {
    const arg = flags[i] as string;
    if (!arg.startsWith('-') || arg === '-') {
      positional.push(arg);
      continue;
    }
    const [flag, inline] = split(arg, known);
    const option = known.get(flag);
    if (option === undefined) return err(unknownFlag(flag, known.keys()));
    if (given.has(flag) && option.repeat !== true) return err(`${flag} is given twice`);
    const values = given.get(flag) ?? [];
    given.set(flag, values);
    if (option.value === undefined) {
      if (inline !== null) return err(`${flag} takes no value`);
      continue;
    }
    const value = inline ?? flags[++i];
    if (value === undefined) return err(`${flag} needs a value: ${option.value}`);
    values.push(value);
  }
  if (end >= 0) positional.push(...args.slice(end + 1));
  return ok(new Arguments(positional, given));
}

function split(arg: string, known: ReadonlyMap<string, CommandOption>): readonly [string, string | null] {
  if (!arg.startsWith('--')) return arg.length > 2 && known.has(arg.slice(0, 2)) ? [arg.slice(0, 2), arg.slice(2)] : [arg, null];
  const equals = arg.indexOf('=');
  return equals < 0 ? [arg, null] : [arg.slice(0, equals), arg.slice(equals + 1)];
}

function unknownFlag(flag: string, known: Iterable<string>): string {
  const meant = closest(flag, known);
  return `unknown flag ${JSON.stringify(flag)}${meant === null ? '' : ` (did you mean ${meant}?)`}`;
}

/** The text of `spooky COMMAND --help`. */
export function helpText(command: Command): string {
  const lines = [command.summary, '', `usage: ${command.usage}`];
  const options = [...command.options, HELP];
  const heads = options.map((o) => (o.value === undefined ? o.flag : `${o.flag} ${o.value}`));
  const width = Math.min(34, Math.max(...heads.map((h) => h.length)));
  lines.push('', 'options:');
  options.forEach((o, i) => {
    const head = heads[i] as string;
    const help = o.default === undefined ? o.help : `${o.help} (default: ${o.default})`;
    if (head.length > width) lines.push(`  ${head}`, `  ${' '.repeat(width)}  ${help}`);
    else lines.push(`  ${head.padEnd(width)}  ${help}`);
  });
  if (command.details !== undefined) lines.push('', command.details);
  return `${lines.join('\n')}\n`;
}

/** Reads the arguments of a command, and answers `--help` and mistakes: null when the command has nothing left to do, with the exit code beside it. */
export function readArguments(
  command: Command,
  args: readonly string[],
  io: CommandIo,
): { arguments: Arguments; exit: 0 } | { arguments: null; exit: number } {
  const parsed = parseArguments(args, command.options);
  if (!parsed.ok) return { arguments: null, exit: usageFault(command, parsed.error, io) };
  if (!parsed.value.help) return { arguments: parsed.value, exit: 0 };
  io.stdout(helpText(command));
  return { arguments: null, exit: EXIT.ok };
}

export function usageFault(command: Command, message: string, io: CommandIo): number {
  io.stderr(`spooky ${command.name}: ${message}\nusage: ${command.usage}\n`);
  return EXIT.usage;
}
