import { existsSync } from 'node:fs';
import { describe, test } from '@jest/globals';
import type { QuicEngine } from '../../../../src/edge/quic/engine.ts';
import { engineEnvironment } from '../../../../src/edge/quic/index.ts';
import { MatrixaiEngine } from '../../../../src/edge/quic/matrixai/engine.ts';
import { ADDON_FILE, loadAddon, type Addon } from '../../../../src/edge/quic/native/binding.ts';
import { NativeEngine } from '../../../../src/edge/quic/native/engine.ts';
import type { Report } from '../../../../src/edge/quic/report.ts';

const NOTICE = 'native engine not built: make native';
const FILE = engineEnvironment(process.env).addon ?? ADDON_FILE;
const BUILT = existsSync(FILE);

/** Where it is not built a notice stands in its place; continuous integration builds it, and there that is a failure. */
function missing(title: string): void {
  if (process.env['CI'] === 'true')
    test(title, () => {
      throw new Error(NOTICE);
    });
  else {
    process.stderr.write(`${title}: ${NOTICE}\n`);
    test.skip(`${title}: ${NOTICE}`, () => {});
  }
}

/** Tests that need the addon. */
export function describeNative(title: string, tests: (addon: () => Addon) => void): void {
  if (BUILT) describe(title, () => tests(() => loadAddon(FILE)));
  else missing(title);
}

/** Tests that need sockets, on each engine that has them here. */
export function onRealEngines(tests: (name: string, make: (onInternalError?: Report) => QuicEngine) => void): void {
  tests('matrixai', (onInternalError) => new MatrixaiEngine(onInternalError === undefined ? {} : { onInternalError }));
  if (BUILT) tests('native', (onInternalError) => new NativeEngine({ addon: loadAddon(FILE), onInternalError }));
  else missing('native');
}
