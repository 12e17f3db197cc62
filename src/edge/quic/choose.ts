import { messageOf } from '../../lib/message.ts';
import type { QuicEngine } from './engine.ts';
import { UnsupportedOption } from './failure.ts';
import { selfTest } from './selftest.ts';

export type EngineName = 'auto' | 'native' | 'matrixai';

export interface ChosenEngine {
  readonly engine: QuicEngine;
  /** Another engine than the preferred one runs. */
  readonly fallback: boolean;
  readonly why: string;
}

export interface ChooseOptions {
  /** Hears of exceptions that an engine's boundaries caught. */
  readonly onInternalError?: (where: string, error: unknown) => void;
  /** Another addon than the one beside the package. */
  readonly addon?: string | undefined;
  /** A file to which the TLS secrets of every connection are appended. */
  readonly keylog?: string | undefined;
  /** A folder that gets a log of every packet, one file per connection. */
  readonly qlog?: string | undefined;
}

/** What the environment says of engines; read once, by whoever wires a process. */
export function engineEnvironment(env: Readonly<Record<string, string | undefined>>): Pick<ChooseOptions, 'addon' | 'keylog' | 'qlog'> {
  const read = (name: string): string | undefined => env[name] || undefined;
  return { addon: read('SPOOKY_NATIVE'), keylog: read('SPOOKY_KEYLOG'), qlog: read('SPOOKY_QLOG') };
}

/** The engine that `--engine` asks for; `auto` takes what works here, best first. Rejects with what is missing, and how to get it. */
export async function chooseEngine(name: EngineName, options: ChooseOptions = {}): Promise<ChosenEngine> {
  if (name === 'matrixai') return { engine: await matrixai(options), fallback: false, why: '' };
  try {
    return { engine: await native(options), fallback: false, why: '' };
  } catch (e) {
    const why = `the native engine cannot be used: ${messageOf(e)}`;
    if (name === 'native') throw new Error(why, { cause: e });
    return { engine: await matrixai(options, `; ${why}`), fallback: true, why };
  }
}

async function native(options: ChooseOptions): Promise<QuicEngine> {
  const [{ ADDON_FILE, loadAddon }, { NativeEngine }] = await Promise.all([import('./native/binding.ts'), import('./native/engine.ts')]);
  const file = options.addon ?? ADDON_FILE;
  const addon = loadAddon(file);
  await proven(file, () => selfTest(new NativeEngine({ addon, onInternalError: options.onInternalError })));
  return new NativeEngine({ addon, onInternalError: options.onInternalError, keylog: options.keylog, qlog: options.qlog });
}

/** Self-tests by their addon's file: what works once in a process works. */
const tests = new Map<string, Promise<void>>();

async function proven(file: string, test: () => Promise<void>): Promise<void> {
  let running = tests.get(file);
  if (running === undefined) tests.set(file, (running = test()));
  try {
    await running;
  } catch (e) {
    throw new Error(`${file} fails its self-test (${messageOf(e)}): \`make native\` builds it anew`, { cause: e });
  }
}

async function matrixai(options: ChooseOptions, instead = ''): Promise<QuicEngine> {
  if (options.keylog !== undefined)
    throw new UnsupportedOption('matrixai', 'keylog', `quiche 0.18 overwrites the file at each connection${instead}`);
  if (options.qlog !== undefined) throw new UnsupportedOption('matrixai', 'qlog', `its binding keeps no logs${instead}`);
  const { MatrixaiEngine } = await import('./matrixai/engine.ts').catch((e: unknown) => {
    throw new Error(`the matrixai engine cannot be loaded: ${messageOf(e)}${instead}`);
  });
  return new MatrixaiEngine(options);
}
