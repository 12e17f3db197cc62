import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSource } from '../../../src/control/sources/files.ts';
import { loadPaths } from '../../../src/control/sources/load.ts';
import type { Source, SourceState } from '../../../src/control/sources/source.ts';
import { ManualClock } from '../../../src/lib/clock.ts';

const hasErrors = (state: SourceState): boolean => [...state.problems, ...state.settingsProblems].some((p) => p.severity === 'error');

const TIME_LIMIT_MS = 5000;

const listener = (port: number, files = '') =>
  `apiVersion: spooky.dev/v1alpha1\nkind: Listener\nmetadata: {name: public}\nspec: {port: ${port}, tls: {allowUpstreamCertificates: true${files}}}\n`;
const withFiles = (cert: string, key: string) => listener(1, `, certificateRefs: [{files: {cert: ${cert}, key: ${key}}}]`);
const portOf = (state: SourceState) => state.set.listeners.get('default/public')?.spec.port;

/** A source with its states in order, each awaited with a time limit. */
class Watched {
  readonly source: Source;
  readonly states: SourceState[] = [];
  private wake: (() => void) | null = null;
  private taken = 0;

  constructor(path: string, pollMs = 60_000) {
    this.source = createSource(path, {
      cwd: '/',
      pollMs,
      onError: (e) => {
        throw e;
      },
    });
  }

  start(): Promise<SourceState> {
    return this.source.start((state) => {
      this.states.push(state);
      this.wake?.();
    });
  }

  async next(): Promise<SourceState> {
    if (this.states.length <= this.taken)
      await new Promise<void>((done, fail) => {
        const timer = setTimeout(() => fail(new Error('no change was noticed')), TIME_LIMIT_MS);
        this.wake = () => {
          clearTimeout(timer);
          this.wake = null;
          done();
        };
      });
    return this.states[this.taken++] as SourceState;
  }

  /** States may come in between while several things change. */
  async until(wanted: (state: SourceState) => boolean): Promise<SourceState> {
    for (let i = 0; i < 50; i++) {
      const state = await this.next();
      if (wanted(state)) return state;
    }
    throw new Error('the wanted state did not come');
  }
}

const undo: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const fn of undo.splice(0).reverse()) await fn();
});

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'spooky-files-'));
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function watched(path: string, pollMs?: number): Watched {
  const w = new Watched(path, pollMs);
  undo.push(() => w.source.stop());
  return w;
}

describe('a file', () => {
  test('written in place', async () => {
    const file = join(folder(), 'a.yaml');
    writeFileSync(file, listener(1));
    const w = watched(file);
    expect(portOf(await w.start())).toBe(1);
    writeFileSync(file, listener(2));
    expect(portOf(await w.next())).toBe(2);
  });

  test('replaced by a rename, again and again', async () => {
    const dir = folder();
    const file = join(dir, 'a.yaml');
    writeFileSync(file, listener(1));
    const w = watched(file);
    await w.start();
    for (const port of [2, 3, 4]) {
      writeFileSync(join(dir, 'new'), listener(port));
      renameSync(join(dir, 'new'), file);
      expect(portOf(await w.next())).toBe(port);
    }
    expect(w.states).toHaveLength(3);
  });

  test('that is emptied is a fault, never a state without listeners', async () => {
    const file = join(folder(), 'a.yaml');
    writeFileSync(file, listener(1));
    const w = watched(file);
    await w.start();
    writeFileSync(file, '');
    const state = await w.next();
    expect(hasErrors(state)).toBe(true);
    expect(state.problems[0]?.message).toBe('is empty: it should hold at least one document');
  });

  test('that goes is a fault, and is noticed when it comes back', async () => {
    const file = join(folder(), 'a.yaml');
    writeFileSync(file, listener(1));
    const w = watched(file);
    await w.start();
    unlinkSync(file);
    const gone = await w.next();
    expect(gone.problems.map((p) => p.message)).toEqual(['cannot be read: no such file or directory']);
    writeFileSync(file, listener(2));
    expect(portOf(await w.until((s) => !hasErrors(s)))).toBe(2);
  });

  test('touched without a change says nothing; a read that was asked for always does', async () => {
    const file = join(folder(), 'a.yaml');
    writeFileSync(file, listener(1));
    const w = watched(file);
    await w.start();
    writeFileSync(file, listener(1));
    w.source.reread();
    expect(portOf(await w.next())).toBe(1);
    writeFileSync(file, listener(2));
    expect(portOf(await w.next())).toBe(2);
    expect(w.states).toHaveLength(2);
  });

  test('a broken document does not hide its neighbours', async () => {
    const file = join(folder(), 'a.yaml');
    writeFileSync(file, listener(1));
    const w = watched(file);
    await w.start();
    writeFileSync(file, `${listener(2)}---\nkind: [\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n`);
    const state = await w.next();
    expect(portOf(state)).toBe(2);
    expect([...state.set.configMaps.keys()]).toEqual(['default/a']);
    expect(state.problems.map((p) => p.line)).toEqual([7]);
  });
});

describe('a directory', () => {
  test('files that come, change and go', async () => {
    const dir = folder();
    writeFileSync(join(dir, 'a.yaml'), listener(1));
    const w = watched(dir);
    expect(portOf(await w.start())).toBe(1);
    writeFileSync(join(dir, 'b.yml'), 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n');
    expect((await w.next()).set.configMaps.size).toBe(1);
    unlinkSync(join(dir, 'b.yml'));
    expect((await w.next()).set.configMaps.size).toBe(0);
  });

  test("editors' files are not configuration", async () => {
    const dir = folder();
    writeFileSync(join(dir, 'a.yaml'), listener(1));
    const w = watched(dir);
    await w.start();
    for (const name of ['.a.yaml.swp', 'a.yaml~', '4913', '#a.yaml#', '.#a.yaml', 'a.yaml.tmp', 'README.md'])
      writeFileSync(join(dir, name), 'kind: [');
    writeFileSync(join(dir, 'a.yaml'), listener(2));
    const state = await w.next();
    expect(portOf(state)).toBe(2);
    expect(state.problems).toEqual([]);
    expect(w.states).toHaveLength(1);
  });

  test('mounted as ConfigMaps are: one link is swapped', async () => {
    const dir = folder();
    const version = (n: number, port: number) => {
      mkdirSync(join(dir, `..v${n}`));
      writeFileSync(join(dir, `..v${n}`, 'edge.yaml'), listener(port));
    };
    version(1, 1);
    symlinkSync('..v1', join(dir, '..data'));
    symlinkSync('..data/edge.yaml', join(dir, 'edge.yaml'));
    const w = watched(dir);
    expect(portOf(await w.start())).toBe(1);
    for (const n of [2, 3]) {
      version(n, n);
      symlinkSync(`..v${n}`, join(dir, '..data_tmp'));
      renameSync(join(dir, '..data_tmp'), join(dir, '..data'));
      rmSync(join(dir, `..v${n - 1}`), { recursive: true });
      expect(portOf(await w.until((s) => portOf(s) === n))).toBe(n);
    }
    expect(w.states.some(hasErrors)).toBe(false);
  });

  test('that goes and comes back', async () => {
    const dir = join(folder(), 'conf');
    mkdirSync(dir);
    writeFileSync(join(dir, 'a.yaml'), listener(1));
    const w = watched(dir);
    await w.start();
    rmSync(dir, { recursive: true });
    expect(hasErrors(await w.until(hasErrors))).toBe(true);
    mkdirSync(dir);
    writeFileSync(join(dir, 'a.yaml'), listener(2));
    await w.until((s) => portOf(s) === 2);
    // The watcher of the new directory works, too.
    writeFileSync(join(dir, 'a.yaml'), listener(3));
    await w.until((s) => portOf(s) === 3);
  });

  test('that a link leads to, when the link is turned', async () => {
    const root = folder();
    for (const n of [1, 2]) {
      mkdirSync(join(root, `release-${n}`));
      writeFileSync(join(root, `release-${n}`, 'a.yaml'), listener(n));
    }
    symlinkSync('release-1', join(root, 'current'));
    const w = watched(join(root, 'current'));
    expect(portOf(await w.start())).toBe(1);
    symlinkSync('release-2', join(root, 'next'));
    renameSync(join(root, 'next'), join(root, 'current'));
    await w.until((s) => portOf(s) === 2);
  });

  test('that is not there yet', async () => {
    const root = folder();
    const w = watched(join(root, 'etc', 'spooky'));
    expect(hasErrors(await w.start())).toBe(true);
    mkdirSync(join(root, 'etc', 'spooky'), { recursive: true });
    writeFileSync(join(root, 'etc', 'spooky', 'a.yaml'), listener(1));
    await w.until((s) => portOf(s) === 1);
  });
});

describe('files that documents refer to', () => {
  const bytesOf = (state: SourceState, path: string) => {
    const content = state.set.files.get(path);
    return content?.ok ? Buffer.from(content.bytes).toString() : (content?.problem ?? 'not asked for');
  };

  test('are read, relative to the document, and read again when they change', async () => {
    const dir = folder();
    mkdirSync(join(dir, 'certs'));
    writeFileSync(join(dir, 'a.yaml'), withFiles('certs/a.pem', 'certs/a-key.pem'));
    writeFileSync(join(dir, 'certs/a.pem'), 'cert 1');
    const w = watched(join(dir, 'a.yaml'));
    const first = await w.start();
    const [cert, key] = [join(dir, 'certs/a.pem'), join(dir, 'certs/a-key.pem')];
    expect(first.set.listeners.get('default/public')?.spec.tls.certificateRefs).toEqual([{ files: { cert, key } }]);
    expect([bytesOf(first, cert), bytesOf(first, key)]).toEqual(['cert 1', 'cannot be read: no such file or directory']);
    writeFileSync(key, 'key 1');
    expect(bytesOf(await w.next(), key)).toBe('key 1');
    writeFileSync(`${cert}.new`, 'cert 2');
    renameSync(`${cert}.new`, cert);
    expect(bytesOf(await w.next(), cert)).toBe('cert 2');
  });

  test('in a mounted Secret, whose link is swapped', async () => {
    const dir = folder();
    const mount = join(dir, 'tls');
    mkdirSync(join(mount, '..1'), { recursive: true });
    mkdirSync(join(mount, '..2'));
    for (const n of [1, 2]) for (const file of ['tls.crt', 'tls.key']) writeFileSync(join(mount, `..${n}`, file), `${file} ${n}`);
    symlinkSync('..1', join(mount, '..data'));
    for (const file of ['tls.crt', 'tls.key']) symlinkSync(`..data/${file}`, join(mount, file));
    writeFileSync(join(dir, 'a.yaml'), withFiles('tls/tls.crt', 'tls/tls.key'));
    const w = watched(join(dir, 'a.yaml'));
    expect(bytesOf(await w.start(), join(mount, 'tls.crt'))).toBe('tls.crt 1');
    symlinkSync('..2', join(mount, '..data_tmp'));
    renameSync(join(mount, '..data_tmp'), join(mount, '..data'));
    const state = await w.next();
    expect([bytesOf(state, join(mount, 'tls.crt')), bytesOf(state, join(mount, 'tls.key'))]).toEqual(['tls.crt 2', 'tls.key 2']);
  });

  test('that are directories, pipes or too large are refused without waiting', async () => {
    const dir = folder();
    mkdirSync(join(dir, 'd'));
    writeFileSync(join(dir, 'big.pem'), Buffer.alloc(1024 * 1024 + 1));
    writeFileSync(join(dir, 'a.yaml'), withFiles('d', 'big.pem'));
    const state = await watched(join(dir, 'a.yaml')).start();
    expect(bytesOf(state, join(dir, 'd'))).toBe('has no file with a certificate in PEM');
    expect(bytesOf(state, join(dir, 'big.pem'))).toBe('cannot be read: has more than 1048576 bytes');
  });
});

test('what the kernel does not tell, the poll finds', async () => {
  const root = folder();
  // The link in the middle is in a directory that nothing watches.
  for (const dir of ['conf', 'hop', 'one', 'two']) mkdirSync(join(root, dir));
  writeFileSync(join(root, 'one/a.yaml'), listener(1));
  writeFileSync(join(root, 'two/a.yaml'), listener(2));
  symlinkSync('../one/a.yaml', join(root, 'hop/a.yaml'));
  symlinkSync('../hop/a.yaml', join(root, 'conf/a.yaml'));
  const w = watched(join(root, 'conf/a.yaml'), 50);
  expect(portOf(await w.start())).toBe(1);
  symlinkSync('../two/a.yaml', join(root, 'hop/next'));
  renameSync(join(root, 'hop/next'), join(root, 'hop/a.yaml'));
  expect(portOf(await w.next())).toBe(2);
});

test('what is to be read while it starts is read afterwards, and told', async () => {
  const dir = folder();
  writeFileSync(join(dir, 'a.yaml'), listener(1));
  const w = watched(dir);
  const started = w.start();
  w.source.reread();
  expect(portOf(await started)).toBe(1);
  expect(portOf(await w.next())).toBe(1);
});

test('nothing comes after stop', async () => {
  const file = join(folder(), 'a.yaml');
  writeFileSync(file, listener(1));
  const w = new Watched(file);
  await w.start();
  w.source.reread();
  await w.source.stop();
  const before = w.states.length;
  w.source.reread();
  writeFileSync(file, listener(2));
  await w.source.stop();
  expect(w.states.length).toBe(before);
});

test('asked to read again, it reads what looks the same, too: not every file system shows each change', async () => {
  // A file of another content each time, which never looks changed.
  const uuid = '/proc/sys/kernel/random/uuid';
  const file = join(folder(), 'a.yaml');
  writeFileSync(file, withFiles(uuid, uuid));
  const w = watched(file);
  const now = Date.now();
  const spy = jest.spyOn(Date, 'now').mockReturnValue(now + 60_000);
  try {
    const first = await w.start();
    w.source.reread();
    const next = await w.next();
    expect(next.set.files.get(uuid)).toMatchObject({ ok: true });
    expect(next.set.files.get(uuid)).not.toEqual(first.set.files.get(uuid));
  } finally {
    spy.mockRestore();
  }
});

describe('while it is not quiet yet', () => {
  const QUIET_MS = 25;
  const WHOLE_MS = 10;

  /** Each event of the kernel plans anew when it will be quiet: so they can be counted. */
  class CountingClock extends ManualClock {
    plans = 0;

    override after(ms: number, fn: () => void): () => void {
      this.plans++;
      return super.after(ms, fn);
    }
  }

  const rig = async () => {
    const dir = folder();
    for (const name of ['a', 'b']) writeFileSync(join(dir, `${name}.yaml`), upstream(name, 1));
    writeFileSync(join(dir, 'public.yaml'), withFiles('tls.crt', 'tls.key'));
    for (const name of ['tls.crt', 'tls.key', 'new.key']) writeFileSync(join(dir, name), name);
    const clock = new CountingClock();
    const read = { count: 0, loaded: 0, done: 0, gate: Promise.resolve() };
    const states: SourceState[] = [];
    const source = createSource(dir, {
      cwd: '/',
      clock,
      load: async (...all) => {
        read.count++;
        const result = await loadPaths(...all);
        read.loaded++;
        await read.gate;
        read.done++;
        return result;
      },
    });
    undo.push(() => source.stop());
    await source.start((state) => void states.push(state));
    Object.assign(read, { count: 0, loaded: 0, done: 0 });
    const until = async (done: () => boolean): Promise<void> => {
      const end = performance.now() + TIME_LIMIT_MS;
      while (!done()) {
        if (performance.now() > end) throw new Error('it did not come to that');
        await new Promise((next) => setTimeout(next, 1));
      }
    };
    const planned = async (times: number, change: () => void): Promise<void> => {
      const before = clock.plans;
      change();
      await until(() => clock.plans >= before + times);
    };
    /** Resolves when the kernel has told it. */
    const heard = (change: () => void): Promise<void> => planned(1, change);
    const replace = (name: string, port: number) => (): void => {
      writeFileSync(join(dir, 'new'), upstream(name, port));
      renameSync(join(dir, 'new'), join(dir, `${name}.yaml`));
    };
    const overwrite = (name: string, port: number) => (): void => writeFileSync(join(dir, `${name}.yaml`), upstream(name, port));
    const ports = () => states.map((s) => ['a', 'b'].map((name) => portOfBackend(s, name)));
    return { source, dir, clock, read, ports, until, planned, heard, replace, overwrite };
  };

  const upstream = (name: string, port: number) =>
    `apiVersion: spooky.dev/v1alpha1\nkind: Upstream\nmetadata: {name: ${name}}\nspec: {hostnames: [a.example], backends: [{addresses: [{address: "192.0.2.1:${port}"}]}]}\n`;
  const portOfBackend = (state: SourceState, name: string): unknown =>
    Number(/192\.0\.2\.1:(\d+)/.exec(JSON.stringify(state.set.upstreams.get(`default/${name}`)?.spec))?.[1]);

  test('what a rename has put in the place of a file is read, once, and told when nothing follows it', async () => {
    const { clock, read, ports, until, planned, replace } = await rig();
    await planned(2, replace('a', 2));
    expect(read.count).toBe(1);
    clock.advance(WHOLE_MS - 1);
    expect(ports()).toEqual([]);
    clock.advance(1);
    await until(() => ports().length > 0);
    expect(ports()).toEqual([[2, 1]]);
    clock.advance(QUIET_MS);
    await new Promise((done) => setImmediate(done));
    expect([read.count, ports().length]).toEqual([1, 1]);
  });

  test('what comes after it is read with it, and neither is told without the other', async () => {
    const { clock, read, ports, until, planned, heard, replace } = await rig();
    await planned(2, replace('a', 2));
    clock.advance(WHOLE_MS - 1);
    await heard(replace('b', 3));
    clock.advance(QUIET_MS - 1);
    expect([read.count, ports().length]).toEqual([1, 0]);
    clock.advance(1);
    await until(() => ports().length > 0);
    expect(ports()).toEqual([[2, 3]]);
    expect(read.count).toBe(2);
  });

  test('several that are replaced in a row are one state', async () => {
    const { clock, read, ports, until, dir } = await rig();
    for (const name of ['a', 'b']) writeFileSync(join(dir, `${name}.new`), upstream(name, 5));
    for (const name of ['a', 'b']) renameSync(join(dir, `${name}.new`), join(dir, `${name}.yaml`));
    await until(() => read.count > 0);
    for (let i = 0; i < QUIET_MS; i++) {
      clock.advance(1);
      await new Promise((done) => setImmediate(done));
    }
    await until(() => ports().length > 0);
    expect(ports()).toEqual([[5, 5]]);
  });

  test.each<[string, (dir: string) => void]>([
    ['is gone: it may come back', (dir) => unlinkSync(join(dir, 'a.yaml'))],
    ['is new: it may be written to', (dir) => writeFileSync(join(dir, 'c.yaml'), '')],
    [
      'is another one under a name that was gone: it may be written to',
      (dir) => {
        unlinkSync(join(dir, 'a.yaml'));
        writeFileSync(join(dir, 'a.yaml'), upstream('a', 2));
      },
    ],
    ['is half of a pair: a key', (dir) => renameSync(join(dir, 'new.key'), join(dir, 'tls.key'))],
  ])('what %s', async (_, change) => {
    const { clock, ports, until, heard, read, dir } = await rig();
    await heard(() => change(dir));
    await until(() => read.done > 0);
    for (let i = 0; i < QUIET_MS - 1; i++) {
      await new Promise((done) => setImmediate(done));
      clock.advance(1);
    }
    for (let i = 0; i < 5; i++) await new Promise((done) => setImmediate(done));
    expect(ports()).toEqual([]);
    clock.advance(1);
    await until(() => ports().length > 0);
  });

  test('what is another one under a name that was gone, all of it while something else was read', async () => {
    const { source, clock, ports, until, heard, read, dir } = await rig();
    const { promise, resolve } = Promise.withResolvers<void>();
    read.gate = promise;
    source.reread();
    await until(() => read.loaded === 1);
    await heard(() => {
      unlinkSync(join(dir, 'a.yaml'));
      writeFileSync(join(dir, 'a.yaml'), upstream('a', 2));
    });
    const before = ports().length;
    resolve();
    await until(() => read.done === 2);
    for (let i = 0; i < QUIET_MS - 1; i++) {
      await new Promise((done) => setImmediate(done));
      clock.advance(1);
    }
    for (let i = 0; i < 5; i++) await new Promise((done) => setImmediate(done));
    // Of what was asked for alone.
    expect(ports().slice(before)).toEqual([[1, 1]]);
    clock.advance(1);
    await until(() => ports().length > before + 1);
    expect(ports().at(-1)).toEqual([2, 1]);
  });

  test('what is written in place is left alone: it may be half written', async () => {
    const { clock, read, ports, until, heard, overwrite } = await rig();
    await heard(overwrite('a', 2));
    expect(read.count).toBe(0);
    clock.advance(QUIET_MS);
    expect(read.count).toBe(1);
    await until(() => ports().length > 0);
    expect(ports().at(-1)).toEqual([2, 1]);
  });
});
