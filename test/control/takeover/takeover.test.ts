import { chownSync, existsSync, linkSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { askForTakeover, type Takeover } from '../../../src/control/takeover/client.ts';
import { follow } from '../../../src/control/takeover/follow.ts';
import { encode, fromNew, fromOld, MAX_LINE, type Offer } from '../../../src/control/takeover/messages.ts';
import { TakeoverServer, type TakeoverHost } from '../../../src/control/takeover/server.ts';
import { ManualClock, systemClock } from '../../../src/lib/clock.ts';
import { createLog } from '../../../src/lib/log.ts';
import { eventually } from '../../kit/process.ts';

const OFFER: Offer = {
  type: 'offer',
  pid: 77,
  version: '1.2.3',
  installationKey: new Uint8Array(32).fill(9),
  nodeId: 5,
  folder: '/run/spooky-abcdef',
  engine: 'native',
  numbers: [0, 3],
  own: [3],
  ports: [443],
};
const WHO = { pid: 99, version: '1.2.4' };

let dir: string;
let path: string;
const open: { close: () => unknown }[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tk-'));
  path = join(dir, 'takeover');
});
afterEach(() => {
  for (const o of open.splice(0)) o.close();
  rmSync(dir, { recursive: true });
});

class Host implements TakeoverHost {
  readonly said: string[] = [];
  established = Promise.resolve();
  ending = false;
  /** Why what was released cannot be had again. */
  taken: string | null = null;

  offer(): Omit<Offer, 'type'> | null {
    const { type: _, ...offer } = OFFER;
    return this.ending ? null : offer;
  }

  release(): Promise<void> {
    this.said.push('release');
    return Promise.resolve();
  }

  resume(): Promise<string | null> {
    this.said.push('resume');
    return Promise.resolve(this.taken);
  }

  handedOver(pid: number, numbers: readonly number[]): void {
    this.said.push(`handed over to ${pid}: ${numbers.join()}`);
    this.ending = true;
  }

  succeeded(numbers: readonly number[]): void {
    this.said.push(`succeeded by ${numbers.join()}`);
  }

  orphaned(): void {
    this.said.push('orphaned');
    this.ending = false;
  }

  takers(folder: string): readonly number[] | null {
    return folder === OFFER.folder ? OFFER.own : null;
  }
}

const serve = async (
  established = Promise.resolve(),
  clock = new ManualClock(),
): Promise<{ host: Host; server: TakeoverServer; clock: ManualClock; logged: string[] }> => {
  const host = new Host();
  host.established = established;
  const logged: string[] = [];
  const log = createLog({ level: 'trace', format: 'json', write: (line) => logged.push(line), wall: Date.now });
  const server = new TakeoverServer({ path, clock, log, host });
  await server.listen();
  open.push(server);
  return { host, server, clock, logged };
};

const ask = async (): Promise<Takeover> => {
  const asked = await askForTakeover(path, WHO, systemClock);
  if (!asked.ok || asked.value === null || asked.value === 'gone') throw new Error(asked.ok ? 'nobody' : asked.error);
  open.push(asked.value);
  return asked.value;
};

const until = (check: () => boolean): Promise<void> =>
  eventually(() => (check() ? Promise.resolve() : Promise.reject(new Error('not yet'))), 30_000, 5);

/** What a stranger gets before the connection ends, in whole. */
const stranger = (bytes: string | Buffer, then: (socket: Socket) => void = () => {}): Promise<string> =>
  new Promise((resolve) => {
    let got = '';
    const socket = connect(path, () => {
      socket.write(bytes);
      then(socket);
    });
    socket.on('data', (chunk) => (got += chunk.toString()));
    socket.on('error', () => {});
    socket.on('close', () => resolve(got));
  });

test('the whole way, and a third one afterwards', async () => {
  const { host } = await serve();
  const takeover = await ask();
  expect(takeover.offer).toEqual(OFFER);
  expect(host.said).toEqual([]);
  expect(await takeover.serving([4, 5])).toEqual({ ok: true, value: null });
  expect([host.said, existsSync(path)]).toEqual([['release'], false]);
  expect(await takeover.ready()).toEqual({ ok: true, value: null });
  expect(host.said).toHaveLength(2);
  takeover.succeed([6]);
  await until(() => host.said.length === 3);
  expect(host.said).toEqual(['release', 'handed over to 99: 4,5', 'succeeded by 6']);
});

test('whose successor has ended, and who is there still, can be taken over from again', async () => {
  const { host } = await serve();
  for (const round of [1, 2]) {
    const takeover = await ask();
    expect(takeover.offer).toEqual(OFFER);
    expect(await takeover.serving([round])).toEqual({ ok: true, value: null });
    expect(await takeover.ready()).toEqual({ ok: true, value: null });
    expect(existsSync(path)).toBe(false);
    takeover.close();
    await until(() => host.said.length === 3 * round);
  }
  expect(host.said).toEqual(['release', 'handed over to 99: 1', 'orphaned', 'release', 'handed over to 99: 2', 'orphaned']);
});

test('one that takes over from a process that is starting itself waits for it', async () => {
  let establish = (): void => {};
  const { host } = await serve(new Promise((resolve) => (establish = resolve)));
  host.ending = true;
  const asked = ask();
  expect(await askForTakeover(path, { pid: 100, version: '2' }, systemClock)).toMatchObject({ ok: false });
  host.ending = false;
  establish();
  expect((await asked).offer.pid).toBe(77);
});

test('the end of the old one is seen', async () => {
  const { server } = await serve();
  const takeover = await ask();
  await takeover.serving([1]);
  await takeover.ready();
  server.close();
  await takeover.gone;
});

test('one that dies when it has released all leaves all to the new one', async () => {
  const { server } = await serve();
  const takeover = await ask();
  await takeover.serving([1]);
  server.close();
  await takeover.gone;
  expect(await takeover.ready()).toEqual({ ok: true, value: null });
});

test('one that is closed listens no more, also where it is about to', async () => {
  const { server } = await serve();
  server.stopListening();
  const listening = server.listen();
  server.close();
  await listening;
  expect([server.listening, existsSync(path)]).toEqual([false, false]);
  await serve();
});

test('the socket is its owner’s alone', async () => {
  await serve();
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

describe('a socket of another user', () => {
  /** Keys and a folder from there would be that user's. Who runs the tests may be root, whose sockets anybody trusts, or somebody who cannot give any away. */
  const give = (to: string): void => {
    if (process.geteuid?.() === 0) chownSync(to, 65_534, 65_534);
    else jest.spyOn(process, 'geteuid').mockReturnValue(65_534);
  };
  afterEach(() => {
    jest.restoreAllMocks();
  });

  test('is not asked', async () => {
    const { host, logged } = await serve();
    give(path);
    expect(await askForTakeover(path, WHO, systemClock)).toEqual({ ok: false, error: expect.stringMatching(/is user \d+'s/) });
    expect([host.said, logged]).toEqual([[], []]);
  });

  test('nor where a link of ours leads there', async () => {
    await serve();
    give(path);
    const link = join(dir, 'link');
    symlinkSync(path, link);
    expect(await askForTakeover(link, WHO, systemClock)).toMatchObject({ ok: false });
  });
});

describe('nobody is there', () => {
  test('no socket, or one whose process is dead', async () => {
    expect(await askForTakeover(path, WHO, systemClock)).toEqual({ ok: true, value: null });
    const { server } = await serve();
    server.stopListening();
    expect(await askForTakeover(path, WHO, systemClock)).toEqual({ ok: true, value: null });
  });

  test('of several that find the socket of a dead process one gets the path, and keeps it', async () => {
    const dead = createServer();
    const other = join(dir, 'other');
    await new Promise<void>((done) => dead.listen(other, done));
    linkSync(other, path);
    await new Promise((done) => dead.close(done));
    const all = await Promise.allSettled([serve(), serve(), serve()]);
    const won = all.flatMap((r) => (r.status === 'fulfilled' ? [r.value] : []));
    expect([won.length, won[0]?.server.listening]).toEqual([1, true]);
    for (const r of all) if (r.status === 'rejected') expect(r.reason).toMatchObject({ code: 'EADDRINUSE' });
    expect((await ask()).offer.pid).toBe(77);
  });

  test('what is no socket is neither asked nor replaced', async () => {
    writeFileSync(path, 'precious');
    await expect(serve()).rejects.toThrow(/EADDRINUSE/);
    expect(await askForTakeover(path, WHO, systemClock)).toEqual({ ok: false, error: `${path} is no socket: what is there stays` });
    expect(statSync(path).size).toBe(8);
    expect(await askForTakeover(dir, WHO, systemClock)).toEqual({ ok: false, error: `${dir} is no socket: what is there stays` });
    const link = join(dir, 'link');
    symlinkSync(path, link);
    expect(await askForTakeover(link, WHO, systemClock)).toEqual({ ok: false, error: `${link} is no socket: what is there stays` });
    rmSync(path);
    expect(await askForTakeover(link, WHO, systemClock)).toEqual({ ok: false, error: `${link} is a link to what is not there` });
  });
});

describe('strangers', () => {
  test.each<[string, string | Buffer]>([
    ['garbage', '\0\u0001 what?\n'],
    ['another protocol', 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'],
    ['JSON that is no object', '[1,2]\nnull\n'],
    ['an object that is no first word', '{"type":"ready"}\n'],
    ['a line without end', Buffer.alloc(MAX_LINE + 10, 'x')],
    ['a hello with nonsense in it', '{"type":"take","protocol":"1","pid":-1,"version":7}\n'],
    ['very deep JSON', `${'['.repeat(30_000)}\n`],
  ])('%s: nothing is told, nothing changes, the next one takes over', async (_, bytes) => {
    const { host, logged } = await serve();
    expect(await stranger(bytes)).toBe('');
    expect([host.said, logged]).toEqual([[], []]);
    expect((await ask()).offer.pid).toBe(77);
  });

  test('silence: in time it is sent away, and keeps nobody from taking over', async () => {
    const { host, clock } = await serve();
    let connected = false;
    const silent = stranger('', () => (connected = true));
    await until(() => connected);
    expect((await ask()).offer.pid).toBe(77);
    clock.advance(10_000);
    expect(await silent).toBe('');
    expect(host.said).toEqual([]);
  });

  test('who listens at the path and is no spooky is named as that', async () => {
    const listen = (serveOne: (socket: Socket) => void): Promise<Server> =>
      new Promise((resolve) => {
        const server = createServer((socket) => {
          socket.on('error', () => {});
          socket.resume();
          serveOne(socket);
        });
        server.listen(path, () => resolve(server));
      });
    for (const [reply, said] of [
      ['HTTP/1.1 400 Bad Request\r\n\r\n', 'is no spooky'],
      [encode({ type: 'released' }), 'said released out of turn'],
      [encode({ ...OFFER, folder: 'not/absolute' }), 'is no spooky'],
      [encode({ ...OFFER, installationKey: new Uint8Array(3) }), 'is no spooky'],
    ] as const) {
      const server = await listen((socket) => socket.end(reply));
      const asked = await askForTakeover(path, WHO, systemClock);
      expect(asked.ok ? 'ok' : asked.error).toContain(said);
      await new Promise((done) => server.close(done));
    }
    const closing = await listen((socket) => socket.end());
    expect(await askForTakeover(path, WHO, systemClock)).toEqual({ ok: true, value: 'gone' });
    await new Promise((done) => closing.close(done));
    let heard = false;
    const server = await listen((socket) => socket.on('data', () => (heard = true)));
    const clock = new ManualClock();
    const asked = askForTakeover(path, WHO, clock);
    await until(() => heard);
    await eventually(async () => {
      clock.advance(60_000);
      const late = await Promise.race([asked, Promise.resolve(null)]);
      expect(late).toMatchObject({ ok: false, error: expect.stringContaining('says nothing') });
    });
    server.close();
  });
});

describe('refusals', () => {
  test('another version of the protocol', async () => {
    await serve();
    const said = await stranger('{"type":"take","protocol":2,"pid":5,"version":"9.0.0"}\n');
    expect(JSON.parse(said)).toEqual({
      type: 'refuse',
      why: 'spooky 9.0.0 speaks version 2 of the take-over, the running process 1: stop it and start the new one',
    });
  });

  test('two at once', async () => {
    const { host } = await serve();
    const first = await ask();
    expect(await askForTakeover(path, { pid: 100, version: '2' }, systemClock)).toEqual({
      ok: false,
      error: `${path}: process 99 takes over already`,
    });
    await first.serving([8]);
    await first.ready();
    expect(host.said).toHaveLength(2);
  });

  test('a process that never comes to serve', async () => {
    const { host, clock } = await serve(new Promise(() => {}));
    host.ending = true;
    const asked = askForTakeover(path, WHO, systemClock);
    await eventually(async () => {
      clock.advance(60_000);
      const late = await Promise.race([asked, Promise.resolve(null)]);
      expect(late).toEqual({ ok: false, error: `${path}: the running process does not serve yet` });
    });
    expect(host.said).toEqual([]);
  });

  test('whoever listens at the path keeps it', async () => {
    await serve();
    await expect(serve()).rejects.toThrow(/EADDRINUSE/);
    expect((await ask()).offer.pid).toBe(77);
  });
});

describe('the new one fails: the old one goes on, and another one may try', () => {
  const goesOn = async (host: Host, said: readonly string[]): Promise<void> => {
    expect(host.said).toEqual(said);
    expect((await ask()).offer.pid).toBe(77);
  };

  test('before it serves', async () => {
    const { host, logged } = await serve();
    (await ask()).close();
    await until(() => logged.some((line) => line.includes('it has ended')));
    await goesOn(host, []);
  });

  test('when it should bind what it was left', async () => {
    const { host } = await serve();
    const takeover = await ask();
    await takeover.serving([1]);
    takeover.close();
    await until(() => host.said.length === 2);
    await until(() => existsSync(path));
    await goesOn(host, ['release', 'resume']);
  });

  test.each<[number, string]>([
    [0, 'before it serves'],
    [1, 'when it should bind'],
  ])('it hangs (%i: %s)', async (steps) => {
    const { host, clock, logged } = await serve();
    const takeover = await ask();
    if (steps === 1) await takeover.serving([1]);
    await until(() => {
      clock.advance(60_000);
      return logged.some((line) => line.includes('it said nothing for too long'));
    });
    await until(() => existsSync(path));
    await goesOn(host, steps === 1 ? ['release', 'resume'] : []);
  });

  test.each<[number, string]>([
    [0, 'before it serves'],
    [1, 'when it should bind'],
  ])('it hangs, and awakes (%i: %s): it hears that the old one goes on, and does not take that for its end', async (steps) => {
    const { host, clock, logged } = await serve();
    const takeover = await ask();
    let gone = false;
    void takeover.gone.then(() => (gone = true));
    if (steps === 1) await takeover.serving([1]);
    await until(() => {
      clock.advance(60_000);
      return logged.some((line) => line.includes('it said nothing for too long'));
    });
    // By now it may have bound what the old one had released.
    const went = steps === 1 ? await takeover.ready() : await takeover.serving([1]);
    expect(went).toEqual({ ok: false, error: 'the running process goes on: it said nothing for too long' });
    await until(() => existsSync(path));
    await goesOn(host, steps === 1 ? ['release', 'resume'] : []);
    expect(gone).toBe(false);
  });

  test('it says that it is ready, and ends before that is read', async () => {
    const { host } = await serve();
    const takeover = await ask();
    let release = (): void => {};
    host.release = () => new Promise((resolve) => (release = resolve));
    void takeover.serving([1]);
    await until(() => !existsSync(path));
    void takeover.ready();
    takeover.close();
    await takeover.gone;
    await until(() => host.said.length === 0);
    release();
    await until(() => host.said.length === 1);
    expect(host.said).toEqual(['resume']);
  });

  /** Up to where it is to bind what the old one has released. */
  const released = (): Promise<Socket> =>
    new Promise((resolve) => {
      let got = '';
      const socket = connect(path, () => socket.write(encode({ type: 'take', protocol: 1, ...WHO })));
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        got += chunk.toString();
        if (got.includes('"offer"') && !got.includes('"released"')) socket.write(encode({ type: 'serving', numbers: [1] }));
        if (got.includes('"released"')) resolve(socket);
      });
    });

  test('it says that it is ready, and ends, while the old one stands still', async () => {
    const { host } = await serve();
    const socket = await released();
    socket.write(encode({ type: 'ready' }));
    socket.destroy();
    await until(() => host.said.length === 2);
    expect(host.said).toEqual(['release', 'resume']);
  });

  test('the old one stands still for longer than it waits: what it was told meanwhile counts', async () => {
    const { host, clock } = await serve();
    const socket = await released();
    socket.write(encode({ type: 'ready' }));
    clock.advance(60_000);
    await until(() => host.said.length === 2);
    expect(host.said).toEqual(['release', 'handed over to 99: 1']);
    socket.destroy();
  });

  test('what it still has when it was given up is taken again as soon as that is free', async () => {
    const { host, clock, logged } = await serve();
    host.taken = 'the address is in use';
    await released();
    const its = createServer();
    await new Promise<void>((done) => its.listen(path, done));
    await until(() => {
      clock.advance(500);
      return host.said.length > 4;
    });
    host.taken = null;
    const { length } = host.said;
    await until(() => {
      clock.advance(500);
      return host.said.length > length + 2;
    });
    expect(logged.filter((line) => line.includes('not bound again'))).toEqual([expect.stringContaining('the address is in use')]);
    await new Promise((done) => its.close(done));
    await until(() => {
      clock.advance(500);
      return existsSync(path);
    });
    expect((await ask()).offer.pid).toBe(77);
  });

  test('it says things out of turn', async () => {
    const { host, logged } = await serve();
    const bytes = `${encode({ type: 'take', protocol: 1, ...WHO })}${encode({ type: 'ready' })}`;
    expect(JSON.parse((await stranger(bytes)).split('\n')[0] as string)).toMatchObject({ type: 'offer' });
    expect(logged.at(-1)).toContain('it said ready out of turn');
    await goesOn(host, []);
  });
});

test('the old one dies meanwhile: the new one goes on by itself', async () => {
  const { server } = await serve();
  const takeover = await ask();
  server.close();
  await takeover.gone;
  expect(await takeover.serving([1])).toEqual({ ok: true, value: null });
});

describe('one that could not take over, and drains', () => {
  const following = (
    clock = new ManualClock(),
    folder = OFFER.folder,
  ): { heard: (readonly number[])[]; over: () => boolean; clock: ManualClock; stop: () => void } => {
    const heard: (readonly number[])[] = [];
    const stop = new AbortController();
    let over = false;
    void follow({ path, folder, clock, hear: (numbers) => heard.push(numbers) }, stop.signal).then(() => (over = true));
    open.push({ close: () => stop.abort() });
    return { heard, over: () => over, clock, stop: () => stop.abort() };
  };
  const heardInTime = ({ heard, clock }: { heard: unknown[]; clock: ManualClock }, n: number): Promise<void> =>
    until(() => {
      clock.advance(100);
      return heard.length >= n;
    });

  test('hears who takes newcomers, and of each change, also while and after another one takes over', async () => {
    const { host, server, logged } = await serve();
    const failed = following();
    await heardInTime(failed, 1);
    expect(failed.heard).toEqual([[3]]);
    server.tell([255]);
    await heardInTime(failed, 2);
    const takeover = await ask();
    await takeover.serving([4, 5]);
    await takeover.ready();
    server.tell([4, 5]);
    await heardInTime(failed, 3);
    expect(failed.heard).toEqual([[3], [255], [4, 5]]);
    expect(host.said).toEqual(['release', 'handed over to 99: 4,5']);
    expect(logged.filter((line) => line.includes('"warn"'))).toEqual([]);
  });

  test('asks who comes next when there is nobody any more, and as long as nobody is there', async () => {
    const failed = following();
    for (let i = 1; i < 4; i++) {
      const { server } = await serve();
      await heardInTime(failed, i);
      server.close();
      failed.clock.advance(5000);
      expect(failed.over()).toBe(false);
    }
    expect(failed.heard).toEqual([[3], [3], [3]]);
  });

  test('waits for one that begins itself, and is not in the way of others', async () => {
    let establish = (): void => {};
    await serve(new Promise((resolve) => (establish = resolve)));
    const failed = following();
    const asked = ask();
    failed.clock.advance(5000);
    expect(failed.heard).toEqual([]);
    establish();
    await heardInTime(failed, 1);
    expect((await asked).offer.pid).toBe(77);
  });

  test('leaves when it is done', async () => {
    await serve();
    const failed = following();
    await heardInTime(failed, 1);
    failed.stop();
    await until(() => {
      failed.clock.advance(500);
      return failed.over();
    });
    const again = following();
    again.stop();
    await until(() => {
      again.clock.advance(500);
      return again.over();
    });
    expect(again.heard).toEqual([]);
  });

  test('goes on asking where one of a version before takes it for a stranger', async () => {
    const asked: string[] = [];
    const before = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        asked.push(chunk.toString());
        socket.end();
      });
    });
    await new Promise<void>((done) => before.listen(path, done));
    const failed = following();
    await until(() => {
      failed.clock.advance(100);
      return asked.length > 2;
    });
    expect(JSON.parse(asked[0] as string)).toEqual({ type: 'follow', protocol: 1, folder: OFFER.folder });
    await new Promise((done) => before.close(done));
    await serve();
    await heardInTime(failed, 1);
    expect(failed.heard).toEqual([[3]]);
  });

  test.each([
    ['in another folder', encode({ type: 'follow', protocol: 1, folder: '/run/spooky-fedcba' })],
    ['in another version', encode({ type: 'follow', protocol: 2, folder: OFFER.folder })],
  ])('%s: nobody here knows its workers', async (_, word) => {
    const { host, logged } = await serve();
    expect(JSON.parse(await stranger(word))).toMatchObject({ type: 'refuse' });
    expect([host.said, logged]).toEqual([[], []]);
  });

  test('asks no more where it is refused', async () => {
    await serve();
    const failed = following(new ManualClock(), '/run/spooky-fedcba');
    await until(() => failed.over());
    expect(failed.heard).toEqual([]);
  });
});

test.each<[string, unknown]>([
  ['a folder that is none', { type: 'follow', protocol: 1, folder: 'spooky-abcdef' }],
  ['numbers that are none', { type: 'serving', numbers: [256] }],
  ['no numbers', { type: 'succeed', numbers: [] }],
  ['a text for a list', { type: 'serving', numbers: '1' }],
  ['an unknown type', { type: 'please' }],
  ['a prototype', { type: '__proto__' }],
])('%s is nothing that a new one says', (_, json) => {
  expect(fromNew(json as Record<string, unknown>)).toBeNull();
  expect(fromOld(json as Record<string, unknown>)).toBeNull();
});
