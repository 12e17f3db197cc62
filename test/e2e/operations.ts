/** What an operator does while clients work: change, swap certificates, drain; and what befalls a worker. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startGoBackend, type GoBackend } from '../kit/backends.ts';
import type { DriverClient } from '../kit/clients.ts';
import { ENGINE } from '../kit/engine.ts';
import { type Connection, type Dial, type LoadResult, PeerError, type RequestSpec } from '../kit/peers.ts';
import { eventually, freeUdpPort } from '../kit/process.ts';
import { Held } from '../kit/site.ts';
import { startSpooky, within, type Spooky } from '../kit/spooky.ts';
import { makeCertificate } from '../kit/x509.ts';
import { certificateFiles, documents, fingerprint, HOSTS, listener, makeAuthority, makeLeaves, upstream } from './world.ts';

const HELD = 'held.a.test';
const H3_NO_ERROR = 0x100;
/** RFC 9114 s5.2: the first GOAWAY names the largest id of a client's bidirectional stream. */
const MAX_STREAM_ID = 2 ** 62 - 4;

/** Everything asked for was answered 200; what GOAWAY kept from being begun is no failure. */
function expectWhole(result: LoadResult, least: number): void {
  expect({ failed: result.failed, failures: result.failures ?? [] }).toEqual({ failed: 0, failures: [] });
  expect(Object.keys(result.statuses)).toEqual(['200']);
  expect(result.statuses['200'] ?? 0).toBeGreaterThanOrEqual(least);
}

/** Requests of a test beside those of its load. */
const BESIDE = 50;

/** Ends the load when so much of it was answered, however long a busy machine takes for that. */
async function haltAfter(spooky: Spooky, load: { halt: () => Promise<LoadResult> }, least: number): Promise<void> {
  await spooky.metricAbove('spooky_requests_total', {}, least + BESIDE);
  expectWhole(await load.halt(), least);
}

/** Nothing is under way: the drain has nothing to wait for. */
async function expectQuickEnd(spooky: Spooky): Promise<void> {
  const started = Date.now();
  expect(await spooky.stop()).toEqual({ code: 0, signal: null });
  const took = Date.now() - started;
  // A drain that waits in vain takes a minute.
  if (took > within(spooky, 8000)) throw new Error(`the drain took ${took} ms\n${spooky.child.tail(40)}`);
}

export function operations(name: string, make: () => DriverClient): void {
  const authority = makeAuthority();
  const leaves = makeLeaves(authority);
  let client: DriverClient;
  let first: GoBackend;
  let second: GoBackend;
  let held: Held;

  beforeAll(async () => {
    client = make();
    [first, second, held] = await Promise.all([startGoBackend('first'), startGoBackend('second'), Held.start()]);
  }, 30_000);
  afterAll(async () => {
    await (client as DriverClient | undefined)?.stop();
    (held as Held | undefined)?.close();
  });

  interface Running {
    readonly spooky: Spooky;
    readonly port: number;
    readonly dial: Dial;
    config(backend: GoBackend, more?: string): string;
  }

  async function start(args: readonly string[] = []): Promise<Running> {
    const port = await freeUdpPort();
    const config = (backend: GoBackend, more = ''): string =>
      documents(listener('open', port), upstream('main', [HOSTS.go], backend.address), more);
    const spooky = await startSpooky({ documents: config(first, '\n'), files: certificateFiles(leaves), args });
    return { spooky, port, config, dial: { address: `127.0.0.1:${port}`, name: HOSTS.go, ca: authority.file } };
  }

  const bytes: RequestSpec = { authority: HOSTS.go, path: '/bytes/2000' };
  const whoami = async (connection: Connection): Promise<string> =>
    (JSON.parse((await connection.request({ authority: HOSTS.go, path: '/whoami' })).text) as { name: string }).name;

  describe(`${name}, ${ENGINE.name}: operations`, () => {
    test('a changed configuration under load: no request fails, the next one goes where it says', async () => {
      const { spooky, dial, config } = await start();
      const watch = await client.driver.open(dial);
      expect(await whoami(watch)).toBe('first');
      const load = await client.driver.load(dial, bytes, { conns: 3, streams: 4 });
      for (let i = 0; i < 6; i++) {
        const extra = upstream(`extra-${i}`, [`extra-${i}.a.test`], second.address);
        await spooky.apply(config(i % 2 === 0 ? second : first, extra));
        expect(await whoami(watch)).toBe(i % 2 === 0 ? 'second' : 'first');
        expect((await watch.request({ authority: `extra-${i}.a.test`, path: '/status/204' })).status).toBe(204);
        expect((await watch.request({ authority: `extra-${i - 1}.a.test`, path: '/status/204' })).status).toBe(404);
      }
      await haltAfter(spooky, load, 200);
      await expectQuickEnd(spooky);
    }, 120_000);

    test('an invalid change under load: the last good one stays, and is said to', async () => {
      const { spooky, dial, config } = await start();
      const load = await client.driver.load(dial, bytes, { conns: 2, streams: 4 });
      const watch = await client.driver.open(dial);
      spooky.change(config(second).replace('port:', 'prot:'));
      await spooky.metricAbove('spooky_config_apply_total', { result: 'invalid' }, 0);
      expect(await whoami(watch)).toBe('first');
      await spooky.apply(config(second));
      expect(await whoami(watch)).toBe('second');
      await haltAfter(spooky, load, 50);
      await expectQuickEnd(spooky);
    }, 60_000);

    test('a swapped certificate: new handshakes see it, old connections live', async () => {
      const { spooky, dial } = await start();
      const old = await client.driver.open(dial);
      expect(old.certificate).toBe(fingerprint(leaves.a));
      const load = await client.driver.load(dial, bytes, { conns: 2, streams: 2 });
      const renewed = makeCertificate({
        names: ['DNS:a.test', 'DNS:*.a.test'],
        type: 'ecdsa',
        issuer: authority.root,
        subject: 'a.test renewed',
      });
      const before = await spooky.metric('spooky_config_apply_total', { result: 'applied' });
      // As an operator does it: two files, one after the other; between them they do not match, and the last good pair stays.
      spooky.write('certs/a-key.pem', renewed.key);
      spooky.write('certs/a.pem', renewed.cert);
      await spooky.metricAbove('spooky_config_apply_total', { result: 'applied' }, before);
      const fresh = await eventually(async () => {
        const connection = await client.driver.open(dial);
        if (connection.certificate === fingerprint(renewed)) return connection;
        await connection.close();
        throw new Error('still the old one');
      });
      expect((await fresh.request(bytes)).status).toBe(200);
      expect((await old.request(bytes)).status).toBe(200);
      await haltAfter(spooky, load, 50);
      await expectQuickEnd(spooky);
    }, 60_000);

    test('drain under load: what was begun before GOAWAY succeeds, exit 0', async () => {
      const { spooky, dial } = await start(['--drain-timeout', '20s']);
      const load = await client.driver.load(dial, { ...bytes, path: '/slow?ms=20' }, { conns: 4, streams: 8 });
      const watch = await client.driver.open(dial);
      expect((await watch.request(bytes)).status).toBe(200);
      const long = watch.attempt({ authority: HOSTS.go, path: '/slow?ms=2500' });
      const begun = (await first.stats()).requests;
      await eventually(async () => {
        if ((await first.stats()).requests < begun + 200) throw new Error('no load yet');
      });
      const exited = spooky.stop();
      expect(await long).toMatchObject({ status: 200 });
      const end = await watch.closed();
      expect(end.goaways.length).toBe(2);
      expect(end.goaways[0]).toBe(MAX_STREAM_ID);
      expect(end.goaways[1]).toBe(8);
      expect(end.how).toMatchObject({ kind: 'application', code: H3_NO_ERROR });
      expect(await exited).toEqual({ code: 0, signal: null });
      const result = await load.halt();
      expectWhole(result, 50);
      expect(result.refused + result.gone).toBeGreaterThan(0);
    }, 60_000);

    test('drain: no new connection, and what outlasts the drain is cut', async () => {
      const { spooky, dial } = await start(['--drain-timeout', '1s']);
      const watch = await client.driver.open(dial);
      const endless = watch.attempt({ authority: HOSTS.go, path: '/slow?ms=30000' });
      await eventually(async () => {
        if ((await first.stats()).active < 1) throw new Error('not there yet');
      });
      const started = Date.now();
      const exited = spooky.stop();
      await eventually(async () => {
        const late = await client.driver.open({ ...dial, timeoutMs: 300 }).catch((cause: unknown) => cause);
        if (late instanceof PeerError) return;
        throw new Error('still accepted');
      });
      // Its answer would come after half a minute.
      expect((await endless).error).toBeDefined();
      expect(await exited).toEqual({ code: 0, signal: null });
      expect(Date.now() - started).toBeLessThan(within(spooky, 6000));
    }, 60_000);

    test('a killed worker is replaced in under a second', async () => {
      const { spooky, dial } = await start();
      const connection = await client.driver.open(dial);
      expect((await connection.request(bytes)).status).toBe(200);
      const [worker] = await spooky.workers();
      const killed = Date.now();
      process.kill(worker?.pid ?? 0, 'SIGKILL');
      await eventually(
        async () => {
          const fresh = await client.driver.open({ ...dial, timeoutMs: within(spooky, 1000) / 5 });
          expect((await fresh.request(bytes)).status).toBe(200);
        },
        30_000,
        5,
      );
      expect(Date.now() - killed).toBeLessThan(within(spooky, 1000));
      expect(await spooky.metric('spooky_worker_restarts_total')).toBe(1);
      expect((await spooky.workers())[0]?.pid).not.toBe(worker?.pid);
      await expectQuickEnd(spooky);
    }, 60_000);

    test.each([0, 1])(
      'of two workers number %i is killed: the connections of the other are unharmed',
      async (victim) => {
        const { spooky, dial, config } = await start(['--workers', '2']);
        await spooky.apply(config(first, upstream('held', [HELD], held.address)));
        const workers = await spooky.workers();
        expect(workers.length).toBe(2);
        const connections = await Promise.all(Array.from({ length: 24 }, () => client.driver.open(dial)));
        for (const connection of connections) expect((await connection.request(bytes)).status).toBe(200);
        // Which worker has which connection is asked by a request that is open when the worker dies.
        const open = connections.map((connection) => connection.attempt({ authority: HELD, path: '/', timeoutMs: 12_000 }));
        await eventually(() => (held.open < 24 ? Promise.reject(new Error('not all are open')) : Promise.resolve()));
        process.kill(workers[victim]?.pid ?? 0, 'SIGKILL');
        await eventually(async () => {
          const pids = (await spooky.workers()).map((w) => w.pid);
          if (pids.length !== 2 || pids.includes(workers[victim]?.pid ?? 0)) throw new Error('not replaced yet');
        });
        const owned = held.open;
        expect(owned).toBeGreaterThan(0);
        expect(owned).toBeLessThan(24);
        held.release();
        const answers = await Promise.all(open);
        expect(answers.filter((answer) => answer.status === 200).length).toBe(owned);
        expect((await client.driver.open(dial)).certificate).toBe(fingerprint(leaves.a));
        await expectQuickEnd(spooky);
      },
      60_000,
    );
  });
}
