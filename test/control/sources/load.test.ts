import { afterAll, describe, expect, jest, test } from '@jest/globals';
import * as fc from 'fast-check';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLoadCache, loadPaths, type LoadCache, type LoadResult } from '../../../src/control/sources/load.ts';
import { MemorySource } from '../../../src/control/sources/memory.ts';
import { emptySet } from '../../../src/contract/resources/index.ts';
import { costOf } from '../../kit/cost.ts';

const dir = mkdtempSync(join(tmpdir(), 'spooky-load-'));
afterAll(() => rmSync(dir, { recursive: true }));

const upstream = (name: string, namespace = 'default', weight = 1) =>
  `---\napiVersion: spooky.dev/v1alpha1\nkind: Upstream\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec:\n  hostnames: [${name}.example.com]\n  backends: [{weight: ${weight}, addresses: [{address: "127.0.0.1:7001"}]}]\n`;

const load = (text: string, cache?: LoadCache) => {
  writeFileSync(join(dir, 'a.yaml'), text);
  return loadPaths(['a.yaml'], { cwd: dir, ...(cache === undefined ? {} : { cache }) });
};

test('names that look alike when joined are different objects', async () => {
  const { state } = await load(upstream('c', 'a-b') + upstream('b-c', 'a') + upstream('b', 'a') + upstream('a', 'b'));
  expect(state.problems).toEqual([]);
  expect([...state.set.upstreams.keys()]).toEqual(['a-b/c', 'a/b', 'a/b-c', 'b/a']);
});

test('the order of documents and files does not matter', async () => {
  const texts = ['x', 'y', 'z'].map((n) => upstream(n));
  const forward = (await load(texts.join(''))).state.set;
  const backward = (await load(texts.reverse().join(''))).state.set;
  expect([...backward.upstreams].map(([k, u]) => [k, u.spec])).toEqual([...forward.upstreams].map(([k, u]) => [k, u.spec]));
});

describe('what was read before', () => {
  test('is kept, with places that move along', async () => {
    const cache = createLoadCache();
    const first = await load(upstream('a') + upstream('b'), cache);
    const second = await load(`# a line\n${upstream('new')}${upstream('a')}${upstream('b', 'default', 2)}`, cache);
    const at = (name: string, state = second.state) => state.set.upstreams.get(`default/${name}`);
    expect(at('a')?.spec).toBe(at('a', first.state)?.spec);
    expect(at('b')?.spec).not.toBe(at('b', first.state)?.spec);
    expect(at('a')?.meta.origin?.locate('metadata.name')).toEqual({ line: 12, column: 12 });
    expect(second.digest).not.toBe(first.digest);
  });

  test('tells its problems at their new places', async () => {
    const cache = createLoadCache();
    const bad = upstream('a').replace('spec:', 'spec:\n  retry: {}');
    expect((await load(bad, cache)).state.problems.map((p) => p.line)).toEqual([6]);
    expect((await load(upstream('b') + bad, cache)).state.problems.map((p) => p.line)).toEqual([13]);
  });

  test('tells them at their new places, too, where as many bytes come instead of a byte order mark', async () => {
    for (const begins of ['#a\n', '\n\n\n']) {
      const cache = createLoadCache();
      const bad = upstream('a').replace('spec:', 'spec:\n  retry: {}');
      await load(`\ufeff${bad}`, cache);
      const lines = async (known?: LoadCache): Promise<unknown> => (await load(begins + bad, known)).state.problems.map((p) => p.line);
      expect(await lines(cache)).toEqual(await lines());
    }
  });

  test('takes as much memory as the files, whatever their sizes and however often they change', async () => {
    const cache = createLoadCache();
    const folder = mkdtempSync(join(dir, 'sizes-'));
    const pad = (bytes: number): string => `# ${'x'.repeat(bytes)}\n`;
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    const bytes = (8 << 20) + names.length * (300 << 10);
    // Files that have been quiet for long are not read.
    const read = async (): Promise<unknown> => {
      for (const known of cache.configs.values()) Object.assign(known, { quiet: true });
      return loadPaths([folder], { cwd: dir, cache });
    };
    for (let round = 1; round <= 2; round++)
      for (const [i, name] of names.entries()) {
        writeFileSync(join(folder, 'large.yaml'), upstream('large', 'default', round * 10 + i) + pad(8 << 20));
        await read();
        writeFileSync(join(folder, `${name}.yaml`), upstream(name, 'default', round) + pad(300 << 10));
        await read();
      }
    const held = new Set([...cache.configs.values()].map((known) => known.bytes.buffer).concat(cache.spare.buffer));
    expect([...held].reduce((sum, b) => sum + b.byteLength, 0)).toBeLessThan(3 * bytes);
  });

  test('keeps what it had of a file that is read again and is as it was', async () => {
    for (const size of [10, 300 << 10]) {
      const cache = createLoadCache();
      const text = upstream('a') + upstream('b').replace('spec:', 'spec:\n  retry: {}') + `# ${'x'.repeat(size)}\n`;
      const first = await load(text, cache);
      const [known] = cache.configs.values();
      // It has just been written: the same look may hide other bytes.
      for (let i = 0; i < 3; i++) {
        const next = await load(text, cache);
        expect(told(next)).toEqual(told(first));
        const [now] = cache.configs.values();
        expect(now?.bytes).toBe(known?.bytes);
        expect(now?.documents).toBe(known?.documents);
        expect(now?.bytes.equals(Buffer.from(text))).toBe(true);
        expect(cache.spare.buffer).not.toBe(known?.bytes.buffer);
      }
      // What was read beside it is read into again, and does not become what is kept.
      expect(told(await load(text.replace('a.example', 'c.example'), cache))).toEqual(
        told(await load(text.replace('a.example', 'c.example'))),
      );
      expect(told(await load(text, cache))).toEqual(told(first));
    }
  });

  test('twice the same text is two objects', async () => {
    const cache = createLoadCache();
    for (let i = 0; i < 2; i++) {
      const { state } = await load(upstream('a') + upstream('a'), cache);
      expect(state.problems.map((p) => [p.line, p.message])).toEqual([[11, 'is written twice: first in a.yaml:4']]);
    }
  });
});

/** All that a state says, with the places of its objects. */
const told = ({ state, digest }: LoadResult): unknown => {
  const { set, problems, settings, settingsProblems } = state;
  const objects = [...set.listeners, ...set.upstreams, ...set.secrets, ...set.configMaps].map(([key, object]) => [
    key,
    'spec' in object ? object.spec : object.data,
    object.meta.labels,
    object.meta.origin?.locate('metadata.name'),
  ]);
  return { digest, objects, problems, settings, settingsProblems, files: [...set.files.keys()] };
};

describe('a file that changes again and again', () => {
  const large = `---\n# ${'x'.repeat(200 * 1024)}\n`;
  const documents = [
    ...['a', 'b', 'c', 'd', 'e'].flatMap((name) => [upstream(name), upstream(name, 'default', 2)]),
    upstream('f').replace('example.com', 'exämple.com'),
    upstream('g').replace('spec:', 'spec:\n  retry: {}'),
    upstream('h').replace('metadata:', '# ü\n\nmetadata:'),
    upstream('i').replace('spec:\n', 'spec:\n  tls: {caRef: {files: {ca: no.pem}}}\n'),
    '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n',
    '---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: c}\n',
    '---\napiVersion: spooky.dev/v1alpha1\nkind: Settings\nspec: {logLevel: warn}\n',
    '---\nkind: [\n',
    '---\n',
    '--- # nothing\n',
    '# before\n',
    'a: b\n',
    '\n',
    large,
    `${upstream('z')}# ${'y'.repeat(100 * 1024)}\n`,
  ];
  const edit = fc.record({
    at: fc.nat(12),
    gone: fc.nat(2),
    come: fc.array(fc.constantFrom(...documents), { maxLength: 2 }),
    /** How the file begins and ends. */
    begins: fc.constantFrom('', '', '', '\ufeff', '# first\n'),
    ends: fc.constantFrom('', '', '', '---', '\n', '#'),
    /** Not UTF-8. */
    broken: fc.integer({ min: 0, max: 20 }).map((n) => n === 0),
  });

  test('is what it would be if it were read for the first time', async () => {
    let kept = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 2, maxLength: 8 }), async (edits) => {
        const cache = createLoadCache();
        const list = [upstream('a'), upstream('b'), upstream('c'), large, upstream('d'), large, upstream('e')];
        let before: LoadResult | null = null;
        for (const { at, gone, come, begins, ends, broken } of edits) {
          list.splice(at, gone, ...come);
          const bytes = Buffer.from(begins + list.join('') + ends);
          if (broken) bytes[bytes.length >> 1] = 0xff;
          writeFileSync(join(dir, 'a.yaml'), bytes);
          const now: LoadResult = await loadPaths(['a.yaml'], { cwd: dir, cache });
          expect(told(now)).toEqual(told(await loadPaths(['a.yaml'], { cwd: dir })));
          for (const [key, object] of now.state.set.upstreams) if (before?.state.set.upstreams.get(key) === object) kept++;
          before = now;
        }
      }),
      { numRuns: 50 },
    );
    expect(kept).toBeGreaterThan(50);
  }, 120_000);

  test('is what it would be, too, when bytes go or come where a document begins', async () => {
    const text = ['a', 'b', 'c', 'd'].map((name) => upstream(name)).join('');
    for (const name of ['b', 'd'])
      for (let by = -3; by <= 5; by++)
        for (const gone of [0, 1, 2])
          for (const come of ['', '\n', '-', ' ', '#', 'ü', '---\n']) {
            const cache = createLoadCache();
            await load(text, cache);
            const at = text.indexOf(upstream(name)) + by;
            const cut = text.slice(0, at) + come + text.slice(at + gone);
            for (const now of [cut, text]) expect(told(await load(now, cache))).toEqual(told(await load(now)));
          }
  });

  test('costs what has changed: all other objects are the very same', async () => {
    const cache = createLoadCache();
    const texts = Array.from({ length: 400 }, (_, i) => `${upstream(`u${i}`)}${large.slice(0, 1000)}\n`);
    let before = (await load(texts.join(''), cache)).state.set.upstreams;
    for (const [i, text] of [
      [7, upstream('u7', 'default', 3)],
      [399, upstream('u399', 'default', 30)],
      [0, upstream('u0', 'default', 12)],
    ] as const) {
      texts[i] = text;
      const after = (await load(texts.join(''), cache)).state.set.upstreams;
      expect([...after].filter(([key, object]) => before.get(key) !== object).map(([key]) => key)).toEqual([`default/u${i}`]);
      expect([...after.keys()]).toEqual([...before.keys()]);
      before = after;
    }
  });
});

describe('huge input', () => {
  test('many objects are read in good time, and others run meanwhile', async () => {
    const text = Array.from({ length: 3000 }, (_, i) => upstream(`u${i}`)).join('');
    // Of this thread: those in which V8 marks what other tests have left hold nobody up.
    const used = (): number => {
      const { user, system } = process.threadCpuUsage();
      return user + system;
    };
    /** The longest turn's share of all; the collector's own turn falls into one of three at most. */
    let longest = 1;
    for (let round = 0; round < 3; round++) {
      const looks: number[] = [];
      const took = await costOf(async () => {
        let loading = true;
        const look = (): void => {
          looks.push(used());
          if (loading) setImmediate(look);
        };
        look();
        expect((await load(text)).state.set.upstreams.size).toBe(3000);
        loading = false;
        look();
      });
      expect(took).toBeLessThan(15_000);
      const gaps = looks.slice(1).map((at, i) => at - (looks[i] as number));
      longest = Math.min(longest, Math.max(...gaps) / ((looks.at(-1) as number) - (looks[0] as number)));
    }
    expect(longest).toBeLessThan(1 / 4);
  }, 60_000);

  test('one bad object among many, and one that is far too large, leave the others alone', async () => {
    const huge = upstream('huge').replace(
      'hostnames: [',
      `hostnames: [${Array.from({ length: 60_000 }, (_, i) => `h${i}.example.com`).join(', ')}, `,
    );
    const tooLarge = `---\n# ${'x'.repeat(3 * 1024 * 1024)}\n${upstream('too-large').slice(4)}`;
    const { state } = await load(upstream('a') + huge + tooLarge + upstream('b'));
    expect([...state.set.upstreams.keys()]).toEqual(['default/a', 'default/b']);
    expect(state.problems.map((p) => [p.object, p.message])).toEqual([
      ['Upstream default/huge', 'must have at most 64 items, has 60001'],
      ['', 'has more than 2097152 characters; split it'],
    ]);
  });

  test('ten thousand faults in one document are cut short', async () => {
    const fields = Array.from({ length: 10_000 }, (_, i) => `  x${i}: 1\n`).join('');
    const { state } = await load(`${upstream('a')}${fields}${upstream('b')}`);
    expect(state.problems.length).toBeGreaterThan(500);
    expect(state.problems.length).toBeLessThanOrEqual(1001);
    expect(state.set.upstreams.has('default/b')).toBe(true);
  });
});

test('a directory that holds a directory, and names that are too long', async () => {
  const root = mkdtempSync(join(dir, 'd-'));
  mkdirSync(join(root, 'sub.yaml'));
  writeFileSync(join(root, 'a.yaml'), upstream('a'));
  const { state } = await loadPaths([root, 'x'.repeat(300)], { cwd: dir });
  expect(state.set.upstreams.size).toBe(1);
  expect(state.problems.map((p) => p.message)).toEqual(['cannot be read: its name is too long']);
});

test('the source in memory gives what it was told', async () => {
  const source = new MemorySource();
  const seen: unknown[] = [];
  const first = await source.start((state) => seen.push(state));
  expect(first.set).toEqual(emptySet());
  source.set(first);
  source.reread();
  await source.stop();
  source.set(first);
  expect(seen).toEqual([first, first]);
});

test('files that specs refer to stay the same while they are: also when they are written anew', async () => {
  const cache = createLoadCache();
  const path = join(dir, 'ca.pem');
  const text = upstream('u').replace('spec:\n', 'spec:\n  tls: {caRef: {files: {ca: ca.pem}}}\n');
  const content = async () => (await load(text, cache)).state.set.files.get(path);
  writeFileSync(path, 'one');
  const first = await content();
  expect(first).toMatchObject({ ok: true, bytes: Buffer.from('one') });
  writeFileSync(path, 'one');
  expect(await content()).toBe(first);
  // Of the same length, a moment later: what is new is never taken for what was there.
  for (const next of ['two', 'one', 'six']) {
    writeFileSync(path, next);
    expect(await content()).toMatchObject({ ok: true, bytes: Buffer.from(next) });
  }
  // Quiet for long: it is not read, and still noticed when it changes.
  const now = Date.now();
  const spy = jest.spyOn(Date, 'now').mockReturnValue(now + 60_000);
  try {
    const quiet = await content();
    expect(await content()).toBe(quiet);
    expect((await load(text, cache)).digest).toBe((await load(text, cache)).digest);
    writeFileSync(path, 'ten');
    expect(await content()).toMatchObject({ bytes: Buffer.from('ten') });
    rmSync(path);
    expect(await content()).toMatchObject({ ok: false });
  } finally {
    spy.mockRestore();
  }
});
