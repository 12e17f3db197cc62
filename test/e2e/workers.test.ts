/** What clients of other makes notice when a worker dies, hangs or is relieved: those of the others nothing, its own a reset and no more. */
import { beforeAll, expect, test } from '@jest/globals';
import { startGoBackend, type GoBackend } from '../kit/backends.ts';
import { Curl, describeDriven } from '../kit/clients.ts';
import { ENGINE } from '../kit/engine.ts';
import type { Answer, Connection, Dial } from '../kit/peers.ts';
import { eventually, freeUdpPort } from '../kit/process.ts';
import { startSpooky, within, type Spooky, type WorkerRow } from '../kit/spooky.ts';
import { certificateFiles, documents, HOSTS, listener, makeAuthority, makeLeaves, upstream } from './world.ts';

const authority = makeAuthority();
const leaves = makeLeaves(authority);
const small = { authority: HOSTS.go, path: '/bytes/2000', timeoutMs: 20_000 };
const CLIENTS = 24;

let backend: GoBackend;
beforeAll(async () => {
  backend = await startGoBackend('go');
}, 30_000);

async function serve(args: readonly string[]): Promise<{ spooky: Spooky; dial: Dial }> {
  const port = await freeUdpPort();
  const text = documents(listener('open', port), upstream('go', [HOSTS.go], backend.address));
  const spooky = await startSpooky({ documents: text, files: certificateFiles(leaves), args });
  return { spooky, dial: { address: `127.0.0.1:${port}`, name: HOSTS.go, ca: authority.file } };
}

/** The worker with the most connections, which is to suffer: it has some, and does not have all. */
const busiest = (spooky: Spooky): Promise<WorkerRow> =>
  eventually(async () => {
    const workers = await spooky.workers();
    expect(workers.reduce((sum, w) => sum + w.connections, 0)).toBe(CLIENTS);
    const [worst] = [...workers].sort((a, b) => b.connections - a.connections);
    expect((worst as WorkerRow).connections).toBeLessThan(CLIENTS);
    return worst as WorkerRow;
  });

/** What reaches its sockets while it dies is lost, and costs clients a probe time-out of theirs: here the first datagram is to tell. */
async function kill(spooky: Spooky, victim: WorkerRow): Promise<void> {
  process.kill(victim.pid, 'SIGKILL');
  await spooky.child.waitFor('stderr', (line) => (line.includes('"msg":"worker ended"') ? line : undefined));
}

const replaced = (spooky: Spooky, victim: WorkerRow): Promise<void> =>
  eventually(
    async () => {
      const now = (await spooky.workers())[victim.worker];
      if (now?.pid === victim.pid || now?.state !== 'up') throw new Error('not replaced yet');
      expect((await spooky.text(`${spooky.metricsUrl}/readyz`)).status).toBe(200);
    },
    30_000,
    20,
  );

interface Timed {
  readonly answer: Answer;
  readonly ms: number;
}
/** By every connection at once. */
const askAll = (connections: readonly Connection[]): Promise<Timed[]> =>
  Promise.all(
    connections.map(async (connection) => {
      const asked = performance.now();
      const answer = await connection.attempt(small);
      return { answer, ms: performance.now() - asked };
    }),
  );

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1] ?? NaN;

describeDriven((client) => {
  const open = async (dial: Dial): Promise<Connection[]> => {
    const list = await Promise.all(
      Array.from({ length: CLIENTS }, () => client().driver.open({ ...dial, idleMs: 30_000, timeoutMs: 20_000 })),
    );
    for (const connection of list) expect((await connection.request(small)).size).toBe(2000);
    return list;
  };

  /** Asks by every connection: whose worker lives answers; the others are reset, by whoever gets their datagrams, and at once. */
  async function expectResets(connections: readonly Connection[], lost: number, dial: Dial): Promise<void> {
    const answers = await askAll(connections);
    const failed = answers.filter(({ answer }) => answer.error !== undefined);
    expect(failed.map(({ answer }) => answer.error)).toMatchObject(failed.map(() => ({ kind: 'reset', remote: true })));
    expect(failed.length).toBe(lost);
    // One round trip, as those have that are answered: not a probe time-out, not an idle time-out.
    const answered = answers.filter(({ answer }) => answer.error === undefined);
    expect(median(failed.map(({ ms }) => ms))).toBeLessThan(5 * median(answered.map(({ ms }) => ms)) + 100);
    const again = await Promise.all(failed.map(() => client().driver.open(dial)));
    for (const connection of again) expect((await connection.request(small)).size).toBe(2000);
    const living = connections.filter((_, i) => answers[i]?.answer.error === undefined);
    expect((await askAll(living)).map(({ answer }) => answer.status)).toEqual(living.map(() => 200));
  }

  test.each([2, 4])(
    'one of %i workers is killed: its clients are reset by the others at once, the others’ notice nothing',
    async (n) => {
      const { spooky, dial } = await serve(['--workers', String(n)]);
      const connections = await open(dial);
      const victim = await busiest(spooky);
      await kill(spooky, victim);
      await expectResets(connections, victim.connections, dial);
      await replaced(spooky, victim);
      expect(spooky.logs('worker ended')).toMatchObject([{ worker: victim.worker, reason: 'signal', signal: 'SIGKILL' }]);
      expect(await spooky.stop()).toEqual({ code: 0, signal: null });
    },
    90_000,
  );

  test.each([2, 4])(
    'one of %i workers is killed and replaced before its clients speak again: they are reset by whoever it reaches',
    async (n) => {
      const { spooky, dial } = await serve(['--workers', String(n)]);
      const connections = await open(dial);
      const victim = await busiest(spooky);
      await kill(spooky, victim);
      await replaced(spooky, victim);
      await expectResets(connections, victim.connections, dial);
      expect(await spooky.stop()).toEqual({ code: 0, signal: null });
    },
    90_000,
  );

  test('one of two workers hangs: the other one’s clients notice nothing, its own are reset when it is replaced', async () => {
    const { spooky, dial } = await serve(['--workers', '2']);
    const connections = await open(dial);
    const victim = await busiest(spooky);
    const stopped = Date.now();
    process.kill(victim.pid, 'SIGSTOP');
    // Measured beside the requests: clients double the pauses between their retries, which may reach beyond the replacement.
    const took = replaced(spooky, victim).then(() => Date.now() - stopped);
    const answers = await askAll(connections);
    const failed = answers.filter(({ answer }) => answer.error !== undefined);
    expect(failed.length).toBe(victim.connections);
    expect(failed.map(({ answer }) => answer.error)).toMatchObject(failed.map(() => ({ kind: 'reset', remote: true })));
    const living = answers.filter(({ answer }) => answer.error === undefined);
    expect(living.map(({ answer }) => answer.status)).toEqual(living.map(() => 200));
    // They did not wait for the one that hung.
    expect(Math.max(...living.map(({ ms }) => ms))).toBeLessThan(Math.min(...failed.map(({ ms }) => ms)));
    expect(await took).toBeLessThan(3000 + within(spooky, 1000));
    expect(spooky.logs('worker ended')).toMatchObject([{ worker: victim.worker, reason: 'hung' }]);
    expect(await spooky.metric('spooky_worker_restarts_total', { reason: 'hung' })).toBe(1);
    expect(await spooky.stop()).toEqual({ code: 0, signal: null });
  }, 90_000);

  test.each([1, 2])(
    'of %i, a worker over its soft memory limit is relieved under load, and no request and no new connection is lost',
    async (n) => {
      const shape = { conns: 8, streams: 4 };
      const workers = ['--workers', String(n), '--drain-timeout', '20s'];
      const most = async (spooky: Spooky): Promise<number> => Math.max(...(await spooky.workers()).map((w) => w.memoryBytes));
      // One after the other, until it is over; one that comes a moment before GOAWAY may be sent away by it, as clients know. They stay: what a
      // worker takes under one load differs by a quarter from run to run, and with each of them it takes more.
      const newcomers = async (to: Dial, over: (come: number) => boolean): Promise<string[]> => {
        const come: Connection[] = [];
        const ends: string[] = [];
        for (let i = 0; i < 8000 && !over(i); i++) {
          const connection = await client().driver.open({ ...to, timeoutMs: 10_000 });
          come.push(connection);
          const { error } = await connection.attempt(small);
          ends.push(error === undefined ? 'answered' : error.kind);
        }
        await Promise.all(come.map((connection) => connection.close()));
        return ends;
      };
      // What this engine takes here under this load, newcomers and all.
      const first = await serve([...workers, '--worker-memory', 'off']);
      const trial = await client().driver.load(first.dial, small, shape);
      await newcomers(first.dial, (come) => come === 200);
      await first.spooky.metricAbove('spooky_requests_total', { code: '200' }, 20_000, 90_000);
      const taken = await most(first.spooky);
      await trial.halt();
      expect(await first.spooky.stop()).toEqual({ code: 0, signal: null });

      // What it takes differs by some percent each time: the hard limit, a quarter above, is to be as far from it as this one.
      const limit = Math.round(taken * 0.9);
      const { spooky, dial } = await serve([...workers, '--worker-memory', String(limit)]);
      const before = (await spooky.workers()).map((w) => w.pid);
      const load = await client().driver.load(dial, small, shape);
      const relieved = spooky.metricAbove('spooky_worker_restarts_total', { reason: 'memory_soft' }, 0, 150_000);
      const watch = { over: false };
      const coming = newcomers(dial, () => watch.over);
      await relieved.finally(() => (watch.over = true));
      const ends = await coming;
      expect(spooky.logs('worker over its hard memory limit: killed')).toEqual([]);
      expect(ends.filter((end) => end !== 'answered' && end !== 'goaway')).toEqual([]);
      expect(ends.filter((end) => end === 'answered').length).toBeGreaterThan(10);
      const result = await load.halt();
      expect({ failed: result.failed, failures: result.failures ?? [] }).toEqual({ failed: 0, failures: [] });
      expect(Object.keys(result.statuses)).toEqual(['200']);
      const after = (await spooky.workers()).filter((w) => w.state === 'up').map((w) => w.pid);
      expect(after.filter((pid) => before.includes(pid))).toHaveLength(n - 1);
      expect(spooky.logs('worker over its soft memory limit: a replacement starts')).toMatchObject([{ softLimit: limit }]);
      expect(spooky.logs('worker relieved')).toHaveLength(1);
      expect(spooky.logs('worker ended')).toEqual([]);
      expect(await spooky.metric('spooky_worker_restarts_total')).toBe(1);
      expect(await spooky.stop()).toEqual({ code: 0, signal: null });
    },
    300_000,
  );
});

test(`${ENGINE.name}: curl: after one of two workers has died each next request is answered`, async () => {
  const { spooky, dial } = await serve(['--workers', '2']);
  const session = await new Curl().open(dial);
  const [victim] = await spooky.workers();
  process.kill((victim as WorkerRow).pid, 'SIGKILL');
  for (let i = 0; i < 8; i++) expect((await session.request(small)).size).toBe(2000);
  await replaced(spooky, victim as WorkerRow);
  expect(await spooky.stop()).toEqual({ code: 0, signal: null });
}, 90_000);
