import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import type { QuicEngine } from '../../../src/edge/quic/engine.ts';
import { chooseEngine, engineEnvironment } from '../../../src/edge/quic/index.ts';
import { ADDON_FILE } from '../../../src/edge/quic/native/binding.ts';
import { ABI } from '../../../src/edge/quic/native/records.ts';
import { MatrixaiEngine } from '../../../src/edge/quic/matrixai/engine.ts';
import { selfTest } from '../../../src/edge/quic/selftest.ts';
import { costOf } from '../../kit/cost.ts';
import { describeNative, onRealEngines } from './native/built.ts';

const dir = mkdtempSync(join(tmpdir(), 'spooky-choose-'));
afterAll(() => rmSync(dir, { recursive: true }));

/** A module in the place of an addon. */
const fake = (name: string, body: string): string => {
  const file = join(dir, `${name}.cjs`);
  writeFileSync(file, body);
  return file;
};

/** The beginning of an ELF file of `bytes` bytes, whose section headers would end at `end`. To load it is to die of SIGBUS. */
const elf = (name: string, bytes: number, end: number): string => {
  const file = join(dir, `${name}.node`);
  const image = Buffer.alloc(bytes);
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(image);
  image.writeBigUInt64LE(BigInt(end - 64 * 10), 40);
  image.writeUInt16LE(64, 58);
  image.writeUInt16LE(10, 60);
  writeFileSync(file, image);
  return file;
};

const folder = (name: string): string => {
  mkdirSync(join(dir, name));
  return join(dir, name);
};

const failed = (p: Promise<unknown>): Promise<string> =>
  p.then(
    () => '',
    (e: unknown) => (e as Error).message,
  );

describe('an addon that cannot be used', () => {
  const cases = [
    ['is missing', join(dir, 'none.node'), 'none.node is not there: `make native` builds it'],
    ['cannot be loaded', fake('broken', 'throw new Error("wrong ELF class")'), 'cannot be loaded (wrong ELF class)'],
    ['was copied in part', elf('part', 8191, 8192), 'part.node is cut short or no file'],
    ['is whole, and no program', elf('whole', 8192, 8192), 'whole.node cannot be loaded ('],
    ['is a folder', folder('folder.node'), 'folder.node is cut short or no file'],
    ['speaks other records', fake('old', 'exports.abi = () => 999'), `speaks version 999 of our records, not ${ABI}`],
    ['is something else', fake('other', 'exports.hello = 1'), 'other.cjs is no engine of ours'],
    [
      'fails its self-test',
      fake('deaf', `exports.abi = () => ${ABI}; exports.version = () => '1'; exports.open = () => { throw new Error('no sockets today') }`),
      'fails its self-test (no sockets today)',
    ],
  ] as const;
  test.each(cases)('%s: native fails, auto says why and takes matrixai', async (_what, addon, message) => {
    expect(await failed(chooseEngine('native', { addon }))).toContain(message);
    expect(await failed(chooseEngine('native', { addon }))).toMatch(/^the native engine cannot be used: .*`make native`/);
    const auto = await chooseEngine('auto', { addon });
    expect([auto.engine.name, auto.fallback]).toEqual(['matrixai', true]);
    expect(auto.why).toContain(message);
  });

  test('what only the native engine can do is refused by name', async () => {
    const addon = join(dir, 'none.node');
    expect(await failed(chooseEngine('auto', { addon, keylog: '/tmp/keys' }))).toMatch(/cannot honour keylog: .*none\.node is not there/);
    expect(await failed(chooseEngine('matrixai', { qlog: '/tmp/qlog' }))).toContain('the matrixai engine cannot honour qlog');
  });
});

test('matrixai is what was asked for', async () => {
  const asked = await chooseEngine('matrixai', { addon: join(dir, 'none.node') });
  expect([asked.engine.name, asked.fallback, asked.why]).toEqual(['matrixai', false, '']);
});

test('the addon is looked for beside the package', () => {
  expect(existsSync(join(ADDON_FILE, '..', 'Cargo.toml'))).toBe(true);
});

test('the environment names a file, secrets and logs; empty is not set', () => {
  expect(engineEnvironment({ SPOOKY_NATIVE: '/a', SPOOKY_KEYLOG: '/b', SPOOKY_QLOG: '/c' })).toEqual({
    addon: '/a',
    keylog: '/b',
    qlog: '/c',
  });
  expect(engineEnvironment({ SPOOKY_NATIVE: '' })).toEqual({ addon: undefined, keylog: undefined, qlog: undefined });
});

test('the self-test passes where an engine works, and leaves nothing behind', async () => {
  expect(await costOf(() => selfTest(new MatrixaiEngine()))).toBeLessThan(2000);
});

/** Where the process stands still for longer than an answer may take, as soon as the client's first datagram has left. */
const stalled = (engine: QuicEngine): QuicEngine => {
  const listen = engine.listen.bind(engine);
  engine.listen = async (o, h) => {
    const endpoint = await listen(o, h);
    setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500));
    return endpoint;
  };
  return engine;
};

onRealEngines((name, make) => {
  test(`${name}: a process that had no time meanwhile is no engine that does not work`, async () => {
    const began = performance.now();
    await selfTest(stalled(make()));
    expect(performance.now() - began).toBeGreaterThan(2400);
  }, 30_000);

  test(`${name}: one that says nothing is given up`, async () => {
    const engine = make();
    engine.connect = () => new Promise(() => {});
    expect(await failed(selfTest(engine))).toBe('no answer within 2000 ms');
  }, 30_000);
});

describeNative('native', () => {
  test('auto and native take it', async () => {
    for (const name of ['auto', 'native'] as const) {
      const { engine, fallback, why } = await chooseEngine(name);
      expect([engine.name, fallback, why]).toEqual(['native', false, '']);
      expect(engine.version).toMatch(/^0\.30\./);
      expect(engine.caps).toMatchObject({ migration: true, datagram: true, pq: true });
    }
  });
});
