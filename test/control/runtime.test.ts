import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { RuntimeFolder } from '../../src/control/runtime.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { Child } from '../kit/process.ts';

let parent: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'rt-'));
});
afterEach(() => rmSync(parent, { recursive: true }));

test('a folder of its own, for its owner alone, gone with the last tree', async () => {
  const first = await RuntimeFolder.create(parent);
  expect(statSync(first.path).mode & 0o777).toBe(0o700);
  const second = await RuntimeFolder.join(first.path);
  writeFileSync(join(first.path, '3-0123456789abcdef.udp'), 'x');
  writeFileSync(join(first.path, '33-0123456789abcdef'), 'x');
  first.forget(3);
  expect(readdirSync(first.path).filter((name) => !name.startsWith('tree-'))).toEqual(['33-0123456789abcdef']);
  await first.leave();
  expect(existsSync(first.path)).toBe(true);
  await second.leave();
  expect(readdirSync(parent)).toEqual([]);
});

test('what processes left that were killed goes at the next start; what lives, is young or is no folder of ours stays', async () => {
  const lives = await RuntimeFolder.create(parent);
  const dead = join(parent, 'spooky-aaaaaa');
  mkdirSync(dead, { mode: 0o700 });
  // A process that listens there and dies without a word.
  const listening = `require('net').createServer().listen(process.argv[1], () => console.log('up'))`;
  const child = new Child(process.execPath, ['-e', listening, join(dead, 'tree-00000000')]);
  await child.waitFor('stdout', (line) => (line === 'up' ? line : undefined));
  child.kill('SIGKILL');
  await child.exited;
  const old = join(parent, 'spooky-bbbbbb');
  mkdirSync(old, { mode: 0o700 });
  utimesSync(old, new Date(0), new Date(0));
  mkdirSync(join(parent, 'spooky-cccccc'));
  mkdirSync(join(parent, 'spooky-of-somebody'));
  writeFileSync(join(parent, 'spooky-dddddd'), '');
  symlinkSync(parent, join(parent, 'spooky-eeeeee'));
  const next = await RuntimeFolder.create(parent);
  const left = readdirSync(parent).sort();
  expect(existsSync(dead)).toBe(false);
  expect(left).toEqual(
    [lives.path, next.path, ...['spooky-cccccc', 'spooky-dddddd', 'spooky-eeeeee', 'spooky-of-somebody'].map((n) => join(parent, n))]
      .map((path) => path.slice(parent.length + 1))
      .sort(),
  );
  await Promise.all([lives.leave(), next.leave()]);
});

test('what is in it does not grow old: who cleans up /tmp knows sockets by the names that they were bound to alone', async () => {
  const clock = new ManualClock();
  const folder = await RuntimeFolder.create(parent, clock);
  writeFileSync(join(folder.path, '3-0123456789abcdef.udp'), 'x');
  const inIt = readdirSync(folder.path).map((name) => join(folder.path, name));
  expect(inIt).toHaveLength(2);
  for (let day = 0; day < 3; day++) {
    for (const path of inIt) utimesSync(path, new Date(0), new Date(0));
    clock.advance(86_400_000);
    for (const path of inIt) expect(Date.now() - statSync(path).mtimeMs).toBeLessThan(60_000);
  }
  await folder.leave();
  expect([readdirSync(parent), clock.pending()]).toEqual([[], 0]);
});

test('one that somebody has removed is made anew for those who begin, and lives', async () => {
  const folder = await RuntimeFolder.create(join(parent, '.'));
  expect(folder.restore()).toBe(false);
  rmSync(parent, { recursive: true });
  expect(folder.restore()).toBe(true);
  expect(statSync(folder.path).mode & 0o777).toBe(0o700);
  expect(folder.restore()).toBe(false);
  const other = await RuntimeFolder.create(parent);
  expect(existsSync(folder.path)).toBe(true);
  await Promise.all([folder.leave(), other.leave()]);
  expect(readdirSync(parent)).toEqual([]);
});

/** A socket that is bound and does not listen: the kernel refuses whoever connects to it. */
async function bind(path: string): Promise<void> {
  const socket = createServer();
  const other = join(parent, 'bound');
  await new Promise<void>((done) => socket.listen(other, done));
  linkSync(other, path);
  await new Promise((done) => socket.close(done));
}

test('whose workers are in it, and live, can be told', async () => {
  const folder = await RuntimeFolder.create(parent);
  const bind = `
    require('node:net').createServer().listen(process.argv[1] + '/7-0123456789abcdef', () => console.log('up'));`;
  const child = new Child(process.execPath, ['-e', bind, folder.path]);
  await child.waitFor('stdout', (line) => (line === 'up' ? line : undefined));
  linkSync(join(folder.path, '7-0123456789abcdef'), join(folder.path, '7-1123456789abcdef'));
  writeFileSync(join(folder.path, '8-0123456789abcdef.udp'), `127.0.0.1 1000 ${child.pid}\n`);
  for (const [i, text] of ['', 'x', '127.0.0.1 1000 0\n'].entries()) writeFileSync(join(folder.path, `${i}-0123456789abcdef.udp`), text);
  writeFileSync(join(folder.path, '9-0123456789abcdef.udp.12'), `127.0.0.1 1000 ${child.pid}\n`);
  expect((await folder.workers()).sort()).toEqual([7, 8]);
  child.kill('SIGKILL');
  await child.exited;
  expect(await folder.workers()).toEqual([]);
  await folder.leave();
});

test('another start does not take one for dead that has bound its socket and does not listen yet', async () => {
  type Listen = (this: Server, path: string, done: () => void) => Server;
  const listen = Server.prototype.listen as Listen;
  let other: RuntimeFolder | null = null;
  const slowly = async (server: Server, path: string, done: () => void): Promise<void> => {
    await bind(path);
    other = await RuntimeFolder.create(parent);
    if (existsSync(path)) unlinkSync(path);
    listen.call(server, path, done);
  };
  const spy = jest.spyOn(Server.prototype, 'listen').mockImplementationOnce(function (this: Server, ...[path, done]: unknown[]) {
    slowly(this, path as string, done as () => void).catch((e: unknown) => this.emit('error', e));
    return this;
  });
  try {
    const first = await RuntimeFolder.create(parent);
    expect(other).not.toBeNull();
    const third = await RuntimeFolder.create(parent);
    expect(existsSync(first.path)).toBe(true);
    await Promise.all([first, other as RuntimeFolder | null, third].map((folder) => folder?.leave()));
    expect(readdirSync(parent)).toEqual([]);
  } finally {
    spy.mockRestore();
  }
});

test('a folder of somebody that only bears such a name keeps what is in it', async () => {
  const config = join(parent, 'spooky-config');
  mkdirSync(join(config, 'more'), { recursive: true });
  writeFileSync(join(config, 'edge.yaml'), 'a');
  // Also one that has a file of such a name, and one of the right mode.
  const deploy = join(parent, 'spooky-deploy');
  mkdirSync(deploy, { mode: 0o700 });
  writeFileSync(join(deploy, 'tree-00000000'), 'b');
  writeFileSync(join(deploy, 'edge.yaml'), 'b');
  for (const folder of [config, deploy]) utimesSync(folder, new Date(0), new Date(0));
  const folder = await RuntimeFolder.create(parent);
  expect([readdirSync(config), readdirSync(deploy)]).toEqual([
    ['edge.yaml', 'more'],
    ['edge.yaml', 'tree-00000000'],
  ]);
  // What is not ours stays in a folder of ours, too.
  writeFileSync(join(folder.path, 'notes'), 'c');
  writeFileSync(join(folder.path, '3-0123456789abcdef'), '');
  await folder.leave();
  expect(readdirSync(folder.path)).toEqual(['notes']);
});

test('nobody is led into a folder that is none of ours', async () => {
  const other = join(parent, 'etc');
  mkdirSync(other, { mode: 0o700 });
  const wide = join(parent, 'spooky-aaaaaa');
  mkdirSync(wide);
  for (const path of [other, wide, parent, '/']) await expect(RuntimeFolder.join(path)).rejects.toThrow(/no folder of ours/);
  expect([readdirSync(other), readdirSync(wide)]).toEqual([[], []]);
});

test('a place that cannot be used is named, with what is wrong', async () => {
  await expect(RuntimeFolder.create(join(parent, 'nowhere'))).rejects.toThrow(/ENOENT.*nowhere/);
  const long = join(parent, 'x'.repeat(100));
  mkdirSync(long);
  await expect(RuntimeFolder.create(long)).rejects.toThrow(/too long for the sockets in it: \d+ bytes less would do/);
  expect(readdirSync(long)).toEqual([]);
  await expect(RuntimeFolder.join(join(parent, 'nowhere'))).rejects.toThrow(/no folder of ours/);
});

test('the longest name that fits can be listened at', async () => {
  const at = (n: number): string => join(parent, 'y'.repeat(n));
  // The parent takes all that is left of 107 bytes beside /spooky-XXXXXX/255-0123456789abcdef.
  const room = 107 - Buffer.byteLength(`${parent}//spooky-XXXXXX/255-0123456789abcdef`);
  mkdirSync(at(room));
  const folder = await RuntimeFolder.create(at(room));
  const socket = createServer();
  const path = join(folder.path, '255-0123456789abcdef');
  await new Promise<void>((done, fail) => socket.once('error', fail).listen(path, done));
  expect(Buffer.byteLength(path)).toBe(107);
  expect(readdirSync(folder.path)).toContain('255-0123456789abcdef');
  await new Promise((done) => socket.close(done));
  await folder.leave();
});
