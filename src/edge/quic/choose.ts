import type { QuicEngine } from './engine.ts';

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
}

const NO_NATIVE = 'the native engine is not part of this build';

/** The engine that `--engine` asks for; `auto` takes what works here, best first. */
export async function chooseEngine(name: EngineName, options: ChooseOptions = {}): Promise<ChosenEngine> {
  if (name === 'native') throw new Error(NO_NATIVE);
  const { MatrixaiEngine } = await import('./matrixai/engine.ts').catch((e: unknown) => {
    throw new Error(`the matrixai engine cannot be loaded: ${e instanceof Error ? e.message : String(e)}`);
  });
  return { engine: new MatrixaiEngine(options), fallback: name === 'auto', why: name === 'auto' ? NO_NATIVE : '' };
}
