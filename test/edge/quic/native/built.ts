import { existsSync } from 'node:fs';
import { describe, test } from '@jest/globals';
import { engineEnvironment } from '../../../../src/edge/quic/index.ts';
import { ADDON_FILE, loadAddon, type Addon } from '../../../../src/edge/quic/native/binding.ts';

const NOTICE = 'native engine not built: make native';
const FILE = engineEnvironment(process.env).addon ?? ADDON_FILE;

/** Tests that need the addon: where it is not built they are skipped with a notice; continuous integration builds it, and there that is a failure. */
export function describeNative(title: string, tests: (addon: () => Addon) => void): void {
  if (existsSync(FILE)) describe(title, () => tests(() => loadAddon(FILE)));
  else if (process.env['CI'] === 'true')
    test(title, () => {
      throw new Error(NOTICE);
    });
  else {
    process.stderr.write(`${title}: ${NOTICE}\n`);
    test.skip(`${title}: ${NOTICE}`, () => {});
  }
}
