/** Every command by name, loaded when it is wanted: `serve` has no use for what `explain` needs. */
import type { Command } from './command.ts';
import { helpCommand } from './help.ts';

const LOADERS: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ['serve', async () => (await import('./serve.ts')).serve],
  ['check', async () => (await import('./check.ts')).check],
  ['explain', async () => (await import('./explain.ts')).explain],
  ['probe', async () => (await import('./probe.ts')).probe],
  ['demo', async () => (await import('./demo.ts')).demo],
  ['crds', async () => (await import('./crds.ts')).crds],
  ['version', async () => (await import('./version.ts')).version],
  ['help', () => Promise.resolve(help)],
]);

export const COMMAND_NAMES: readonly string[] = [...LOADERS.keys()];

export const loadCommand = async (name: string): Promise<Command | null> => (await LOADERS.get(name)?.()) ?? null;

export const loadCommands = (): Promise<Command[]> => Promise.all([...LOADERS.values()].map((load) => load()));

export const help: Command = helpCommand(loadCommands);
