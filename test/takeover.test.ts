/** `spooky serve --takeover` as a whole: real processes, real sockets, clients that notice everything. Needs `make build`. */
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { H3 } from '../src/edge/http/h3/codes.ts';
import { ENGINE } from './kit/engine.ts';
import { Cut, H3Client, type ClientExchange } from './kit/h3client.ts';
import { Child, eventually, freeTcpPort, freeUdpPort, parseLine } from './kit/process.ts';
import { Site } from './kit/site.ts';
import { alive, BIN, Spooky, startSpooky, temporaryFolder, type WorkerRow } from './kit/spooky.ts';

const MIB = 1 << 20;
const BIG = 24 * MIB;
const site = new Site();

/** One node: everything that processes which follow each other have in common. */
interface Node {
  readonly dir: string;
  readonly socket: string;
  readonly runtime: string;
  readonly port: number;
  readonly metrics: number;
  readonly admin: number;
}

let node: Node;
const processes: Spooky[] = [];
beforeEach(async () => {
  const dir = temporaryFolder('take');
  const [port, metrics, admin] = [await freeUdpPort(), await freeTcpPort(), await freeTcpPort()];
  node = { dir, socket: join(dir, 'takeover'), runtime: temporaryFolder('rt'), port, metrics, admin };
});
afterEach(async () => {
  for (const spooky of processes.splice(0)) spooky.child.kill('SIGKILL');
  await eventually(() => (clients.size === 0 ? Promise.resolve() : Promise.reject(new Error('clients are left'))));
});

const documents = (retry = 'Auto'): string =>
  site.documents(node.port, { listener: `  quic: {retry: ${retry}}`, upstream: '  timeouts: {request: 5m}' });

/** What all processes of the node are started with, unless they are started with something else. */
const argumentsOf = (...more: readonly string[]): string[] => {
  const usual = {
    '--takeover': node.socket,
    '--runtime-dir': node.runtime,
    '--metrics': `127.0.0.1:${node.metrics}`,
    '--admin': `127.0.0.1:${node.admin}`,
    '--engine': ENGINE.name,
  };
  return [...Object.entries(usual).flatMap(([flag, value]) => (more.includes(flag) ? [] : [flag, value])), ...more];
};

const start = async (more: readonly string[] = [], retry = 'Auto'): Promise<Spooky> => {
  const spooky = await startSpooky({ documents: documents(retry), files: site.files, dir: node.dir, args: argumentsOf(...more) });
  processes.push(spooky);
  return spooky;
};

const clients = new Set<H3Client>();
const dial = async (): Promise<H3Client> => {
  const client = await H3Client.connect(ENGINE, site.dial(node.port));
  clients.add(client);
  void client.closed.then(() => clients.delete(client));
  return client;
};

/** Clients that ask without end, on a connection until it is asked to go, or on one for each request. */
class Load {
  answered = 0;
  dialed = 0;
  readonly failures: string[] = [];
  private stopping = false;
  private readonly loops: Promise<void>[];

  constructor(steady: number, fresh: number) {
    this.loops = [...Array.from({ length: steady }, () => this.loop(Infinity)), ...Array.from({ length: fresh }, () => this.loop(1))];
  }

  /** So many more answers. */
  async more(n: number): Promise<void> {
    const [answered, dialed] = [this.answered + n, this.dialed + n / 10];
    await eventually(
      () => {
        const enough = (this.answered >= answered && this.dialed >= dialed) || this.failures.length > 0;
        return enough ? Promise.resolve() : Promise.reject(new Error(`${this.answered} answers, ${this.dialed} connections`));
      },
      30_000,
      10,
    );
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.loops);
  }

  private async loop(requests: number): Promise<void> {
    while (!this.stopping) {
      try {
        await this.connection(requests);
      } catch (e) {
        this.failures.push(String(e));
        return;
      }
    }
  }

  private async connection(requests: number): Promise<void> {
    const client = await dial();
    this.dialed++;
    try {
      for (let i = 0; i < requests && !this.stopping; i++) {
        // Asked to go, as any client may be at any time: nothing was sent yet.
        if (client.goaway !== Infinity || client.isClosed) return;
        const { status, body } = await client.get('/bytes/1000').catch((e: unknown) => this.excused(e));
        if (status === 0) return;
        if (status !== 200 || body.length !== 1000) throw new Error(`${status}, ${body.length} bytes`);
        this.answered++;
      }
    } finally {
      client.close();
    }
  }

  /** What the server says it has not looked at may be sent again (RFC 9114 s4.1.1, s5.2); of GOAWAY and reset either may come first. */
  private excused(e: unknown): { status: number; body: Buffer } {
    if (e instanceof Cut && (e.by === 'goaway' || (e.by === 'reset' && e.code === H3.H3_REQUEST_REJECTED)))
      return { status: 0, body: Buffer.alloc(0) };
    throw e;
  }
}

/** Its processes, in order: with neither metrics nor admin API nobody says which. */
const workersOf = (pid: number): number[] => readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').map(Number);

const exited = (spooky: Spooky): Promise<unknown> => spooky.child.exited;

/** A download that has begun, and stands still until it is told to go on. */
const begin = async (): Promise<{ client: H3Client; exchange: ClientExchange; finish: () => Promise<void> }> => {
  const client = await dial();
  const exchange = client.request(`/bytes/${BIG}`, { discards: true });
  await exchange.bodyOf(MIB).catch((e: unknown) => {
    throw new Error(`${exchange.status} ${JSON.stringify(exchange.pairs)} ${exchange.body.toString()}`, { cause: e });
  });
  exchange.pause();
  const finish = async (): Promise<void> => {
    exchange.resume();
    expect((await exchange.answer).status).toBe(200);
    expect(exchange.bodyBytes).toBe(BIG);
    client.close();
  };
  return { client, exchange, finish };
};

const socketIsThere = (): Promise<void> =>
  eventually(() => (existsSync(node.socket) ? Promise.resolve() : Promise.reject(new Error('no socket'))));

describe(`taking over on ${ENGINE.name}`, () => {
  test.each([
    [1, 1],
    [2, 3],
  ])(
    'from %i to %i workers nothing is lost: requests, long downloads and uploads, new connections',
    async (before, after) => {
      const old = await start(['--workers', String(before)]);
      expect(statSync(node.socket).mode & 0o777).toBe(0o600);
      const load = new Load(4, 2);
      const downloads = [await begin(), await begin(), await begin()];
      const uploading = await dial();
      const upload = uploading.request('/echo', { method: 'POST', open: true, discards: true });
      const part = Buffer.alloc(MIB, 'u');
      await upload.write(part);
      await load.more(200);

      const next = await start(['--workers', String(after)]);
      expect(next.ready).toMatchObject({ tookOverFrom: old.child.pid, workers: after, pid: next.child.pid });
      expect(next.logs(`taking over from pid ${old.child.pid}`)).toHaveLength(1);
      await eventually(() => Promise.resolve(expect(old.logs(`handed over to pid ${next.child.pid}`)).toHaveLength(1)));
      await load.more(200);
      for (let i = 1; i < 12; i++) await upload.write(part);
      upload.end();
      expect((await upload.answer).status).toBe(200);
      expect(upload.bodyBytes).toBe(12 * MIB);
      uploading.close();
      // Asked twice to go: all that is left there is what had begun.
      await eventually(() => Promise.resolve(expect(old.logs('draining')).toHaveLength(1)));
      await downloads[0]?.client.warned;
      expect(alive(old.child.pid)).toBe(true);
      await Promise.all(downloads.map((d) => d.finish()));
      expect(await exited(old)).toEqual({ code: 0, signal: null });
      await load.more(200);
      await load.stop();
      expect(load.failures).toEqual([]);

      const numbers = (await next.admin<{ workers: { pid: number; state: string }[] }>('/admin/workers')).workers;
      expect(numbers.map((w) => w.state)).toEqual(Array.from({ length: after }, () => 'up'));
      expect((await next.text(`http://127.0.0.1:${node.metrics}/readyz`)).status).toBe(200);
      expect(await next.metric('spooky_requests_total', { code: '200' })).toBeGreaterThan(0);
      expect(await next.stop()).toEqual({ code: 0, signal: null });
      expect([existsSync(node.socket), readdirSync(node.runtime)]).toEqual([false, []]);
    },
    120_000,
  );

  test.each([
    ['one more', '"127.0.0.1"', '"127.0.0.1", "127.0.0.2"'],
    ['one less', '"127.0.0.1", "127.0.0.2"', '"127.0.0.1"'],
    ['one instead of all', '"0.0.0.0"', '"127.0.0.1"'],
    ['all instead of one', '"127.0.0.1"', '"0.0.0.0"'],
  ])(
    'to a configuration with other addresses for the same port: %s',
    async (_, before, after) => {
      const at = (addresses: string): string => documents().replace('addresses: ["127.0.0.1"]', `addresses: [${addresses}]`);
      const serve = async (addresses: string): Promise<Spooky> => {
        const args = argumentsOf('--workers', '2');
        // In a folder of its own: each process follows its own configuration.
        const spooky = await startSpooky({ documents: at(addresses), files: site.files, dir: temporaryFolder('own'), args });
        processes.push(spooky);
        return spooky;
      };
      const old = await serve(before);
      const load = new Load(4, 2);
      const held = [await begin(), await begin(), await begin(), await begin()];
      await load.more(100);
      const next = await serve(after);
      expect(next.ready).toMatchObject({ tookOverFrom: old.child.pid });
      await load.more(100);
      await Promise.all(held.map((h) => h.finish()));
      await load.stop();
      expect(load.failures).toEqual([]);
      expect(await exited(old)).toEqual({ code: 0, signal: null });
    },
    60_000,
  );

  test('with a Retry for everybody', async () => {
    const old = await start(['--workers', '2'], 'Always');
    const load = new Load(2, 3);
    await load.more(100);
    await start(['--workers', '2'], 'Always');
    await load.more(100);
    expect(await exited(old)).toEqual({ code: 0, signal: null });
    await load.more(100);
    await load.stop();
    expect(load.failures).toEqual([]);
  }, 120_000);

  test('one after another, while the first still drains', async () => {
    const first = await start(['--workers', '2', '--drain-timeout', '2m']);
    const held = await begin();
    const second = await start(['--workers', '2', '--drain-timeout', '2m']);
    const alsoHeld = await begin();
    const load = new Load(3, 2);
    await load.more(100);
    await socketIsThere();
    const third = await start(['--workers', '2']);
    expect(third.ready).toMatchObject({ tookOverFrom: second.child.pid });
    await load.more(100);
    await alsoHeld.client.warned;
    await load.more(100);
    expect([first, second].map((s) => alive(s.child.pid))).toEqual([true, true]);
    await alsoHeld.finish();
    await held.finish();
    expect(await exited(first)).toEqual({ code: 0, signal: null });
    expect(await exited(second)).toEqual({ code: 0, signal: null });
    await load.more(100);
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(await third.stop()).toEqual({ code: 0, signal: null });
    expect(readdirSync(node.runtime)).toEqual([]);
  }, 120_000);

  test('four, of which those in between have nothing left to do long before the first', async () => {
    const first = await start(['--workers', '2', '--drain-timeout', '2m']);
    const held = [await begin(), await begin(), await begin()];
    const between: Spooky[] = [];
    for (let i = 0; i < 2; i++) {
      between.push(await start(['--workers', '1']));
      await eventually(() => Promise.resolve(expect(between.at(-1)?.logs('ready')).toHaveLength(1)));
      await socketIsThere();
    }
    await eventually(() => Promise.resolve(expect(between[0]?.logs('drained')).toHaveLength(1)));
    const last = await start(['--workers', '2']);
    await eventually(() => Promise.resolve(expect(between[1]?.logs('drained')).toHaveLength(1)));
    // The kernel brings many of these to the first one, which must know the last; and no number of its workers may be another's.
    const load = new Load(2, 4);
    await load.more(300);
    await load.stop();
    expect(load.failures).toEqual([]);
    await Promise.all(held.map((h) => h.finish()));
    for (const old of [first, ...between]) expect(await exited(old)).toEqual({ code: 0, signal: null });
    expect(await last.stop()).toEqual({ code: 0, signal: null });
    expect(readdirSync(node.runtime)).toEqual([]);
  }, 120_000);

  test('from one that was told to end, and drains', async () => {
    const old = await start(['--workers', '2', '--drain-delay', '1h']);
    const load = new Load(3, 2);
    await load.more(100);
    old.child.kill('SIGTERM');
    await eventually(() => Promise.resolve(expect(old.logs('draining')).toHaveLength(1)));
    const next = await start(['--workers', '1']);
    expect(next.ready).toMatchObject({ tookOverFrom: old.child.pid });
    await load.more(100);
    // Nobody comes any more: the rest of the hour is not waited for.
    expect(await exited(old)).toEqual({ code: 0, signal: null });
    await load.more(100);
    await load.stop();
    expect(load.failures).toEqual([]);
  }, 120_000);

  test('from one that still drains when the one that has taken over from it is gone', async () => {
    const first = await start(['--workers', '2', '--drain-timeout', '2m']);
    const held = await begin();
    const second = await start(['--workers', '2']);
    await second.kill();
    const orphaned = 'the process that took over has ended: until this one has drained it can be taken over from again';
    await eventually(() => Promise.resolve(expect(first.logs(orphaned)).toMatchObject([{ by: second.child.pid }])));
    const third = await start(['--workers', '2']);
    expect(third.ready).toMatchObject({ tookOverFrom: first.child.pid });
    const load = new Load(2, 3);
    await load.more(100);
    await held.finish();
    expect(await exited(first)).toEqual({ code: 0, signal: null });
    await load.more(100);
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(await third.stop()).toEqual({ code: 0, signal: null });
    expect([existsSync(node.socket), readdirSync(node.runtime)]).toEqual([false, []]);
  }, 120_000);

  test('of two that start at once one takes over from the other', async () => {
    const both = await Promise.all([start(['--workers', '1']), start(['--workers', '1'])]);
    const [old, next] = both[0].ready['tookOverFrom'] === undefined ? both : [both[1], both[0]];
    expect([old.ready['tookOverFrom'], next.ready['tookOverFrom']]).toEqual([undefined, old.child.pid]);
    expect(await exited(old)).toEqual({ code: 0, signal: null });
    const load = new Load(1, 1);
    await load.more(20);
    await load.stop();
    expect(load.failures).toEqual([]);
  }, 60_000);

  test('what cannot take over leaves everything as it was, and says why', async () => {
    const old = await start(['--workers', '2']);
    const load = new Load(3, 1);
    const dir = site.folder({ 'good.yaml': documents(), 'bad.yaml': documents().replace('spec:', 'specs:') });
    const attempt = async (config: string, ...more: string[]): Promise<{ code: number | null; said: string }> => {
      const child = new Child(BIN, ['serve', '--log-format', 'json', '--config', join(dir, config), ...argumentsOf(...more)]);
      const { code } = await child.exited;
      return { code, said: child.stderr.join('\n') };
    };
    const invalid = await attempt('bad.yaml');
    expect([invalid.code, invalid.said]).toEqual([1, expect.stringContaining('the configuration is invalid')]);

    const other = ENGINE.name === 'native' ? 'matrixai' : 'native';
    const engine = await attempt('good.yaml', '--engine', other);
    expect([engine.code, engine.said]).toEqual([1, expect.stringContaining(`serves with ${ENGINE.name}`)]);

    const many = await attempt('good.yaml', '--workers', '255');
    expect([many.code, many.said]).toEqual([1, expect.stringContaining('more than 256')]);

    // After the old one has given its addresses up.
    const taken = createServer();
    await new Promise<void>((done) => taken.listen(0, '127.0.0.1', done));
    const { port } = taken.address() as AddressInfo;
    const bound = await attempt('good.yaml', '--metrics', `127.0.0.1:${port}`);
    taken.close();
    expect([bound.code, bound.said]).toEqual([3, expect.stringContaining(`127.0.0.1:${port} cannot be bound`)]);
    await eventually(() => Promise.resolve(expect(old.logs('take-over failed: this process goes on')).toHaveLength(4)));

    await eventually(async () => expect((await old.text(`${old.metricsUrl}/readyz`)).status).toBe(200));
    expect((await old.workers()).map((w) => w.state)).toEqual(['up', 'up']);
    expect(await old.metric('spooky_worker_restarts_total')).toBe(0);
    await load.more(100);
    // And a good one may still do it.
    await socketIsThere();
    const next = await start(['--workers', '1']);
    expect(next.ready).toMatchObject({ tookOverFrom: old.child.pid });
    expect(await exited(old)).toEqual({ code: 0, signal: null });
    await load.more(100);
    await load.stop();
    expect(load.failures).toEqual([]);
  }, 120_000);

  test('a worker of the old process that dies in that moment turns nobody away when it is back', async () => {
    const old = await start(['--workers', '2', '--drain-timeout', '2m']);
    const workers = await old.workers();
    const next = await start(['--workers', '1']);
    process.kill((workers[0] as WorkerRow).pid, 'SIGKILL');
    // Whoever comes to it stays, and so does it.
    const held: Awaited<ReturnType<typeof begin>>[] = [];
    for (let i = 0; i < 2000 && old.logs('draining').length === 0; i++) held.push(await begin());
    // Of so many the kernel brings some to each worker.
    const load = new Load(0, 4);
    await load.more(300);
    await load.stop();
    expect(load.failures).toEqual([]);
    await Promise.all(held.map((h) => h.finish()));
    expect(await exited(old)).toEqual({ code: 0, signal: null });
    expect(await next.stop()).toEqual({ code: 0, signal: null });
  }, 120_000);

  test('a worker of the old process that hangs while it drains keeps nobody from the new one', async () => {
    const old = await start(['--workers', '1', '--drain-timeout', '2m']);
    const held = await begin();
    const next = await start(['--workers', '1']);
    await held.client.warned;
    // It has half of the newcomers to bring to the new one.
    process.kill(workersOf(old.child.pid)[0] as number, 'SIGSTOP');
    const load = new Load(0, 4);
    await load.more(100);
    await load.stop();
    expect(load.failures).toEqual([]);
    held.exchange.answer.catch(() => {});
    held.client.close();
    expect(await exited(old)).toEqual({ code: 0, signal: null });
    expect(old.logs('worker ended')).toMatchObject([{ worker: 0, reason: 'hung', restartInMs: -1 }]);
    expect(await next.stop()).toEqual({ code: 0, signal: null });
  }, 60_000);

  test('again, while one that could not still drains', async () => {
    const old = await start(['--workers', '2']);
    const args = argumentsOf('--workers', '2', '--drain-timeout', '2m');
    const failing = new Child(BIN, ['serve', '--log-format', 'json', '--config', join(node.dir, 'spooky.yaml'), ...args]);
    await failing.waitFor('stderr', (line) => (parseLine(line)?.['msg'] === `taking over from pid ${old.child.pid}` ? line : undefined));
    // It hears nobody for a while: who takes over has workers by then that clients come to.
    old.child.kill('SIGSTOP');
    const folder = join(node.runtime, readdirSync(node.runtime)[0] as string);
    const bound = (n: number): boolean => readdirSync(folder).some((name) => name.startsWith(`${n}-`));
    await eventually(() => (bound(2) && bound(3) ? Promise.resolve() : Promise.reject(new Error('not bound'))));
    const held = await Promise.all(Array.from({ length: 12 }, begin));
    failing.kill('SIGTERM');
    old.child.kill('SIGCONT');
    await eventually(() => Promise.resolve(expect(old.logs('take-over failed: this process goes on')).toHaveLength(1)));
    await socketIsThere();
    const next = await start(['--workers', '2']);
    expect(next.ready).toMatchObject({ tookOverFrom: old.child.pid });
    expect(alive(failing.pid)).toBe(true);
    await Promise.all(held.map((h) => h.finish()));
    expect((await failing.exited).code).toBe(0);
    expect(await exited(old)).toEqual({ code: 0, signal: null });
    const load = new Load(2, 2);
    await load.more(50);
    await load.stop();
    expect(load.failures).toEqual([]);
  }, 120_000);

  test('one that could not, and drains, brings newcomers to whoever serves by then', async () => {
    const old = await start(['--workers', '1', '--drain-timeout', '2m']);
    const heldByOld = await begin();
    const args = argumentsOf('--workers', '3', '--drain-timeout', '2m');
    const failing = new Child(BIN, ['serve', '--log-format', 'json', '--config', join(node.dir, 'spooky.yaml'), ...args]);
    await failing.waitFor('stderr', (line) => (parseLine(line)?.['msg'] === `taking over from pid ${old.child.pid}` ? line : undefined));
    old.child.kill('SIGSTOP');
    const folder = join(node.runtime, readdirSync(node.runtime)[0] as string);
    const bound = (n: number): boolean => readdirSync(folder).some((name) => name.startsWith(`${n}-`));
    await eventually(() => ([1, 2, 3].every(bound) ? Promise.resolve() : Promise.reject(new Error('not bound'))));
    const held = await Promise.all(Array.from({ length: 12 }, begin));
    failing.kill('SIGTERM');
    old.child.kill('SIGCONT');
    await eventually(() => Promise.resolve(expect(old.logs('take-over failed: this process goes on')).toHaveLength(1)));
    // It asks its own clients to go: at least one stays with it, and nobody else's.
    await Promise.race(held.map((h) => h.client.warned));
    const its = held.filter((h) => h.client.goaway !== Infinity);
    await Promise.all(held.filter((h) => !its.includes(h)).map((h) => h.finish()));
    const load = new Load(0, 3);
    await load.more(50);
    await socketIsThere();
    const second = await start(['--workers', '1']);
    // From now on the old one refuses whoever is brought to it.
    await eventually(() => Promise.resolve(expect(old.logs('draining')).toHaveLength(1)));
    await load.more(50);
    expect(load.failures).toEqual([]);
    // It has told of the second one, and of a third it never hears.
    await heldByOld.finish();
    expect(await exited(old)).toEqual({ code: 0, signal: null });
    await load.more(50);
    await socketIsThere();
    const third = await start(['--workers', '1']);
    expect(await exited(second)).toEqual({ code: 0, signal: null });
    await load.more(50);
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(alive(failing.pid)).toBe(true);
    await Promise.all(its.map((h) => h.finish()));
    expect((await failing.exited).code).toBe(0);
    expect(await third.stop()).toEqual({ code: 0, signal: null });
    expect(readdirSync(node.runtime)).toEqual([]);
  }, 120_000);

  test('one that is killed on its way, and strangers, change nothing', async () => {
    const old = await start(['--workers', '1']);
    const load = new Load(2, 1);
    await load.more(50);
    const strangers = ['', 'GET / HTTP/1.1\r\n\r\n', '{"type":"serving","numbers":[1]}\n'].map((text) => {
      const socket = connect(node.socket);
      socket.on('error', () => {});
      if (text !== '') socket.write(text);
      return socket;
    });
    const killed = new Child(BIN, ['serve', '--log-format', 'json', '--config', join(node.dir, 'spooky.yaml'), ...argumentsOf()]);
    await killed.waitFor('stderr', (line) => (parseLine(line)?.['msg'] === `taking over from pid ${old.child.pid}` ? line : undefined));
    killed.kill('SIGKILL');
    await killed.exited;
    await eventually(() => Promise.resolve(expect(old.logs('take-over failed: this process goes on')).toHaveLength(1)));
    expect((await old.text(`${old.metricsUrl}/readyz`)).status).toBe(200);
    await load.more(100);
    const next = await start(['--workers', '1']);
    expect(next.ready).toMatchObject({ tookOverFrom: old.child.pid });
    expect(await exited(old)).toEqual({ code: 0, signal: null });
    await load.more(50);
    await load.stop();
    expect(load.failures).toEqual([]);
    for (const socket of strangers) socket.destroy();
  }, 120_000);

  test('the socket of one that was killed is no obstacle', async () => {
    const old = await start(['--workers', '1']);
    await old.kill();
    expect(existsSync(node.socket)).toBe(true);
    const next = await start(['--workers', '1']);
    expect(next.ready['tookOverFrom']).toBeUndefined();
    // What the dead one left went, too.
    expect(readdirSync(node.runtime)).toHaveLength(1);
    expect(await next.stop()).toEqual({ code: 0, signal: null });
    rmSync(node.socket, { force: true });
  });
});
