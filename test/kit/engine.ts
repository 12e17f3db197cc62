/**
 * The engine that tests of whole processes run on: SPOOKY_ENGINE, or what `auto` takes here. A process gets it by its flag, so that what a
 * title says is what runs; an engine that is asked for and not there fails every suite.
 */
import { describe } from '@jest/globals';
import { chooseEngine, engineEnvironment, type EngineName } from '../../src/edge/quic/choose.ts';
import type { EngineCaps, QuicEngine } from '../../src/edge/quic/engine.ts';

const NAMES: readonly EngineName[] = ['auto', 'native', 'matrixai'];

function asked(): EngineName {
  const text = process.env['SPOOKY_ENGINE'] ?? '';
  const name = NAMES.find((n) => n === (text === '' ? 'auto' : text));
  if (name === undefined) throw new Error(`SPOOKY_ENGINE is ${text}: it must be one of ${NAMES.join(', ')}`);
  return name;
}

export const ENGINE: QuicEngine = (await chooseEngine(asked(), engineEnvironment(process.env))).engine;

/** A group of tests that an engine without this ability skips visibly. */
export function describeWith(cap: keyof EngineCaps, title: string, tests: () => void): void {
  if (ENGINE.caps[cap]) describe(`${ENGINE.name}: ${title}`, tests);
  else describe.skip(`${ENGINE.name} has no ${cap}: ${title}`, tests);
}
