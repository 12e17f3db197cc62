import { expect, test } from '@jest/globals';
import { version } from '../../src/cli/version.ts';
import { packageVersion } from '../../src/cli/package.ts';
import { chooseEngine } from '../../src/edge/quic/index.ts';

const run = async (args: readonly string[], env: Record<string, string> = {}): Promise<{ code: number; out: string; err: string }> => {
  const said = { out: '', err: '' };
  const code = await version.run(args, { stdout: (t) => void (said.out += t), stderr: (t) => void (said.err += t), env, cwd: '/' });
  return { code, ...said };
};

test('says what runs, the engine that auto takes included', async () => {
  const { engine, why } = await chooseEngine('auto');
  const { code, out } = await run([]);
  expect(code).toBe(0);
  const [first, second] = out.split('\n');
  expect(first).toBe(
    `spooky ${packageVersion()} (node ${process.versions.node}, linux-${process.arch}, engine ${engine.name} on quiche ${engine.version})`,
  );
  expect(second).toBe(why);
});

test('says why the preferred engine does not run', async () => {
  const { out } = await run(['--output', 'json'], { SPOOKY_NATIVE: '/nowhere/quic.node' });
  const facts = JSON.parse(out) as Record<string, string>;
  expect(facts['engine']).toBe('matrixai');
  expect(facts['engineVersion']).toMatch(/^0\.18/);
  expect(facts['engineWhy']).toContain('/nowhere/quic.node is not there: `make native` builds it');
  expect((await run([], { SPOOKY_NATIVE: '/nowhere/quic.node' })).out).toContain(', engine matrixai on quiche 0.18');
});

test('an output that it does not have is a usage error', async () => {
  expect((await run(['--output', 'yaml'])).code).toBe(2);
  expect((await run(['now'])).code).toBe(2);
});
