/** What one process says to another when it takes over, and what it does while nobody answers. */
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Succession, type Identity } from '../../../src/cli/serve/takeover.ts';
import type { Servers } from '../../../src/cli/serve/servers.ts';
import { Claims } from '../../../src/control/claims.ts';
import { Numbers } from '../../../src/control/numbers.ts';
import { RuntimeFolder } from '../../../src/control/runtime.ts';
import type { Service } from '../../../src/control/service.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import type { ServeSettings } from '../../../src/settings.ts';
import { createLog } from '../../../src/lib/log.ts';
import { eventually } from '../../kit/process.ts';

let dir: string;
let path: string;
const open: { close: () => unknown }[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sc-'));
  path = join(dir, 'takeover');
});
afterEach(() => {
  for (const o of open.splice(0)) o.close();
  rmSync(dir, { recursive: true });
});

interface Process {
  readonly succession: Succession;
  readonly numbers: Numbers;
  readonly service: Service;
  /** Whom its workers bring newcomers to. */
  readonly succeeded: (readonly number[])[];
  establish(): Promise<string | null>;
}

/** A process whose workers have the numbers `own`, among others in `used` that take nobody. */
function processWith(used: number, own: readonly number[], clock = new ManualClock(), at = join(dir, 'folder')): Process {
  const numbers: Numbers = new Numbers(() => succession.recount());
  for (let i = 0; i < used; i++) numbers.take();
  const succeeded: (readonly number[])[] = [];
  const fleet = { engine: 'native', takers: () => own, succeed: (list: readonly number[]) => succeeded.push(list) };
  const drained = Promise.withResolvers<void>();
  open.push({ close: () => drained.resolve() });
  const service = { fleet, beginDrain: () => {}, drain: () => drained.promise } as unknown as Service;
  const succession: Succession = new Succession({
    path,
    clock,
    log: createLog({ level: 'trace', format: 'json', write: () => {}, wall: Date.now }),
    version: '1.2.3',
    numbers,
    claims: new Claims(clock),
    servers: { close: () => Promise.resolve(), start: () => Promise.resolve(null) } as unknown as Servers,
  });
  open.push(succession);
  succession.renumbered(own);
  const folder = { path: at } as unknown as RuntimeFolder;
  const identity: Identity = { installationKey: new Uint8Array(32), nodeId: 1, engine: 'native', folder };
  return { succession, numbers, service, succeeded, establish: () => succession.establish(service, identity) };
}

test('newcomers are brought to workers that take them, not to those that drain or are about to begin', async () => {
  const old = processWith(3, [1, 2]);
  expect(await old.succession.ask(2)).toEqual({ ok: true, value: null });
  await old.establish();
  const next = processWith(4, [0, 3]);
  expect(await next.succession.ask(2)).toMatchObject({ ok: true, value: { numbers: [0, 1, 2], own: [1, 2] } });
  expect(await next.succession.takeAddresses(next.service)).toEqual({ ok: true, value: null });
  expect([await next.succession.claim(), await next.establish()]).toEqual([null, null]);
  await eventually(() => Promise.resolve(expect(old.succeeded).toEqual([[0, 3]])));
});

test('a worker that is relieved while its process takes over gets no newcomers', async () => {
  const old = processWith(1, [0]);
  expect(await old.succession.ask(2)).toEqual({ ok: true, value: null });
  await old.establish();
  const next = processWith(3, [1, 2]);
  expect(await next.succession.ask(2)).toMatchObject({ ok: true });
  expect(await next.succession.takeAddresses(next.service)).toEqual({ ok: true, value: null });
  next.succession.renumbered([1, 255]);
  expect([await next.succession.claim(), await next.establish()]).toEqual([null, null]);
  await eventually(() =>
    Promise.resolve(
      expect(old.succeeded).toEqual([
        [1, 2],
        [1, 255],
      ]),
    ),
  );
});

test('who could not take over, and drains, brings newcomers to whoever takes them by then', async () => {
  const clock = new ManualClock();
  const until = (check: () => void): Promise<void> =>
    eventually(() => {
      clock.advance(100);
      return Promise.resolve(check());
    });
  const old = processWith(2, [0, 1], clock);
  expect(await old.succession.ask(2)).toEqual({ ok: true, value: null });
  await old.establish();
  const failing = processWith(3, [2], clock);
  expect(await failing.succession.ask(1)).toMatchObject({ ok: true, value: { own: [0, 1] } });
  // Meanwhile one that it was told of is relieved.
  old.succession.renumbered([0, 255]);
  void failing.succession.retreat(failing.service, 60_000);
  await until(() =>
    expect(failing.succeeded).toEqual([
      [0, 1],
      [0, 255],
    ]),
  );
  old.succession.renumbered([1, 255]);
  await until(() => expect(failing.succeeded.at(-1)).toEqual([1, 255]));

  const next = processWith(4, [3], clock);
  expect(await inTime(clock, next.succession.ask(1))).toMatchObject({ ok: true });
  expect(await next.succession.takeAddresses(next.service)).toEqual({ ok: true, value: null });
  expect([await next.succession.claim(), await next.establish()]).toEqual([null, null]);
  await until(() => expect(failing.succeeded.at(-1)).toEqual([3]));
  next.succession.renumbered([254]);
  await until(() => expect([failing.succeeded.at(-1), old.succeeded.at(-1)]).toEqual([[254], [254]]));
  // Of those that follow it hears though nothing is left of the one that it was to take over from.
  old.succession.close();
  const last = processWith(5, [4], clock);
  expect(await inTime(clock, last.succession.ask(1))).toMatchObject({ ok: true, value: { pid: process.pid } });
  expect(await last.succession.takeAddresses(last.service)).toEqual({ ok: true, value: null });
  expect([await last.succession.claim(), await last.establish()]).toEqual([null, null]);
  await until(() => expect(failing.succeeded.at(-1)).toEqual([4]));
});

test('numbers of other processes: what they have begun with meanwhile is theirs, and what they need no more is ours', async () => {
  const folder = await RuntimeFolder.create(dir);
  const old = processWith(1, [0], new ManualClock(), folder.path);
  expect(await old.succession.ask(1)).toEqual({ ok: true, value: null });
  await old.establish();
  const next = processWith(0, [1]);
  const asked = await next.succession.ask(1);
  if (!asked.ok || asked.value === null) throw new Error('nothing is offered');
  const settings = { engine: 'auto' } as ServeSettings;
  expect(await next.succession.inherit(asked.value, settings, { key: null, nodeId: 1 })).toMatchObject({ ok: true });
  expect(next.numbers.take()).toBe(1);
  // By now one of the old process's has been relieved.
  const worker = createServer();
  await new Promise<void>((done) => worker.listen(join(folder.path, '255-0123456789abcdef'), done));
  expect(await next.succession.takeAddresses(next.service)).toEqual({ ok: true, value: null });
  expect([await next.succession.claim(), await next.establish()]).toEqual([null, null]);
  const taken = (): number | null => {
    const number = next.numbers.takeHighest();
    if (number !== null) next.numbers.give(number);
    return number;
  };
  await eventually(() => Promise.resolve(expect(taken()).toBe(254)));

  for (let i = 2; i < 255; i++) expect(next.numbers.take()).toBe(i);
  expect(taken()).toBeNull();
  old.succession.close();
  await eventually(() => Promise.resolve(expect(taken()).toBe(0)));
  expect(next.numbers.take()).toBe(0);
  expect(taken()).toBeNull();
  await new Promise((done) => worker.close(done));
  await eventually(() => Promise.resolve(expect(taken()).toBe(255)));
  await folder.leave();
});

/** Time goes on until it is settled. */
async function inTime<T>(clock: ManualClock, asked: Promise<T>): Promise<T> {
  let over = false;
  const settled = asked.finally(() => (over = true));
  await eventually(
    () => {
      clock.advance(100);
      return over ? Promise.resolve() : Promise.reject(new Error('not yet'));
    },
    30_000,
    1,
  );
  return settled;
}

test('as many silent connections as there may be hold up nobody for longer than silence is borne', async () => {
  const clock = new ManualClock();
  const old = processWith(1, [0], clock);
  expect(await old.succession.ask(1)).toEqual({ ok: true, value: null });
  await old.establish();
  const silent = await Promise.all(
    Array.from({ length: 16 }, () => {
      const { promise, resolve } = Promise.withResolvers<null>();
      const socket = connect(path, () => resolve(null));
      socket.on('error', () => {});
      open.push({ close: () => socket.destroy() });
      return promise;
    }),
  );
  expect(silent.length).toBe(16);
  const next = processWith(2, [1], clock);
  expect(await inTime(clock, next.succession.ask(1))).toMatchObject({ ok: true, value: { own: [0] } });
});

test('who hangs up again and again is asked a few times, with pauses', async () => {
  const asked: number[] = [];
  const clock = new ManualClock();
  const server = createServer((socket) => {
    asked.push(clock.now());
    socket.destroy();
  });
  await new Promise<void>((done) => server.listen(path, done));
  open.push(server);
  const next = processWith(1, [0], clock);
  expect(await inTime(clock, next.succession.ask(1))).toMatchObject({ ok: false, error: expect.stringContaining('is no spooky') });
  expect(asked.length).toBe(5);
  expect((asked[4] as number) - (asked[0] as number)).toBeGreaterThan(5000);
});
