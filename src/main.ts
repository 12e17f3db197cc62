/** The entry point: which command, and its exit code. */
import { EXIT, type CommandIo } from './cli/command.ts';
import { COMMAND_NAMES, help, loadCommand } from './cli/commands.ts';
import { unknownCommand } from './cli/help.ts';
import { holdHup } from './cli/signals.ts';
import { refuseDebugger } from './lib/debugger.ts';

refuseDebugger();

const io: CommandIo = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  env: process.env,
  cwd: process.cwd(),
};

const dispatch = async (args: readonly string[]): Promise<number> => {
  const [first, ...rest] = args;
  if (first === undefined || first === '-h' || first === '--help') return help.run([], io);
  // `spooky --config FILE`, as Spooky's users know it.
  const bare = first.startsWith('-') && first !== '--version';
  const name = bare ? 'serve' : first === '--version' ? 'version' : first;
  if (name === 'serve') holdHup();
  const command = await loadCommand(name);
  return command === null ? unknownCommand(name, COMMAND_NAMES, io) : command.run(bare ? args : rest, io);
};

/** What was written has left, or its reader stalls. */
const FLUSH_MS = 1000;
const written = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, FLUSH_MS);
    stream.write('', () => resolve());
  });

// A reader that has gone (`spooky help | head -1`) is no reason for a stack trace.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

/** What a command did not expect is none of its answers. */
const failed = (e: unknown): number => {
  io.stderr(`spooky: internal error: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}\n`);
  return EXIT.failed;
};

const code = await dispatch(process.argv.slice(2)).catch(failed);
await Promise.all([written(process.stdout), written(process.stderr)]);
process.exit(code);
