import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { Tools } from '../../../src/cli/serve/mode.ts';
import { filesMode } from '../../../src/cli/serve/standalone.ts';
import type { SourceState } from '../../../src/control/sources/source.ts';
import { eventually } from '../../kit/process.ts';

const listener = (port: number): string =>
  `apiVersion: spooky.dev/v1alpha1\nkind: Listener\nmetadata: {name: public}\nspec: {port: ${port}, tls: {allowUpstreamCertificates: true}}\n`;
const portOf = (state: SourceState | null): number | undefined => state?.set.listeners.get('default/public')?.spec.port;

test('what changes between the first look at the files and the start is part of the first state', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sa-'));
  const file = join(dir, 'c.yaml');
  writeFileSync(file, listener(1));
  const mode = filesMode(file, dir);
  try {
    expect(portOf(await mode.early())).toBe(1);
    const feed = mode.open({} as Tools);
    writeFileSync(file, listener(2));
    await eventually(async () => expect(portOf(await feed.start(() => {}))).toBe(2));
  } finally {
    await mode.close();
    rmSync(dir, { recursive: true });
  }
});
