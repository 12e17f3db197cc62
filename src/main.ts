/** The entry point: which command, and its exit code. */
import { check } from './cli/check.ts';
import type { Command, CommandIo } from './cli/command.ts';
import { crds } from './cli/crds.ts';
import { demo } from './cli/demo.ts';
import { explain } from './cli/explain.ts';
import { helpCommand, unknownCommand } from './cli/help.ts';
import { probe } from './cli/probe.ts';
import { serve } from './cli/serve.ts';
import { version } from './cli/version.ts';

const help = helpCommand(() => commands);
export const commands: readonly Command[] = [serve, check, explain, probe, demo, crds, version, help];

const io: CommandIo = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  env: process.env,
  cwd: process.cwd(),
};

const dispatch = (args: readonly string[]): Promise<number> | number => {
  const [name, ...rest] = args;
  if (name === undefined || name === '-h' || name === '--help') return help.run([], io);
  if (name === '--version') return version.run(rest, io);
  // `spooky --config FILE`, as Spooky's users know it.
  if (name.startsWith('-')) return serve.run(args, io);
  const command = commands.find((c) => c.name === name);
  return command === undefined ? unknownCommand(name, commands, io) : command.run(rest, io);
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

const code = await dispatch(process.argv.slice(2));
await Promise.all([written(process.stdout), written(process.stderr)]);
process.exit(code);
