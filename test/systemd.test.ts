/** The units of docs/operate/systemd: the page shows them, systemd understands them, and their commands do what the page says. Needs `make build`. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { ENGINE } from './kit/engine.ts';
import { ROOT } from './kit/peers.ts';
import { Child, eventually, freeUdpPort, parseLine } from './kit/process.ts';
import { BIN, temporaryFolder } from './kit/spooky.ts';
import { makeCertificate } from './kit/x509.ts';

const UNITS = join(ROOT, 'docs', 'operate', 'systemd');
const names = readdirSync(UNITS).sort();
const read = (name: string): string => readFileSync(join(UNITS, name), 'utf8');

test('the page shows the files as they are', () => {
  expect(names).toEqual(['spooky.service', 'spooky@.service']);
  const page = readFileSync(join(ROOT, 'docs', 'operate', 'systemd.md'), 'utf8');
  const blocks = [...page.matchAll(/```ini\n([\s\S]*?)```/g)].map((m) => m[1]);
  expect(blocks).toEqual(names.map(read));
});

const analyze = spawnSync('systemd-analyze', ['--version']).status === 0;
if (!analyze) process.stderr.write('systemd-analyze is not installed: the units are not verified\n');

(analyze ? test : test.skip).each(names)('systemd understands %s', (name) => {
  const dir = temporaryFolder('unit');
  const path = join(dir, name.replace('@', '@a'));
  // It looks for the program.
  writeFileSync(path, read(name).replaceAll('/opt/spooky/bin/spooky', '/bin/true'));
  const result = spawnSync('systemd-analyze', ['verify', '--man=no', path], { encoding: 'utf8' });
  expect([result.stderr, result.status]).toEqual(['', 0]);
});

test.each(names)('what happens to a worker is none of systemd’s business: %s', (name) => {
  // The default ends the whole unit when the kernel kills one of its processes for memory.
  expect(read(name)).toMatch(/^OOMPolicy=continue$/m);
});

/** A machine: what the unit names by absolute paths is in a folder. */
class Machine {
  readonly dir = temporaryFolder('sd');
  readonly told = join(this.dir, 'told');
  private readonly unit: string;

  constructor(unit: string) {
    this.unit = unit;
    for (const folder of ['bin', 'etc', 'run']) mkdirSync(join(this.dir, folder));
    // In place of systemd's own, which there is not everywhere.
    const notify = join(this.dir, 'bin', 'systemd-notify');
    writeFileSync(notify, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> ${this.told}\n`);
    chmodSync(notify, 0o755);
  }

  /** The command behind a name, in words. */
  command(name: string): string[] {
    const line = new RegExp(`^${name}=(.*)$`, 'm').exec(this.unit)?.[1];
    if (line === undefined) throw new Error(`no ${name}`);
    return line.split(' ').map((word) =>
      word
        .replace(/^\/opt\/spooky\/bin\/spooky$/, BIN)
        .replace(/^\/etc\/spooky$/, join(this.dir, 'etc'))
        .replace(/^\/run\/spooky/, join(this.dir, 'run')),
    );
  }

  start(): Child {
    execFileSync(this.command('ExecStartPre')[0] as string, this.command('ExecStartPre').slice(1));
    const [program, ...args] = this.command('ExecStart');
    const env = { NOTIFY_SOCKET: '/run/systemd/notify', PATH: `${join(this.dir, 'bin')}${delimiter}${process.env['PATH'] ?? ''}` };
    return new Child(program as string, [...args, '--metrics', 'off', '--admin', 'off', '--engine', ENGINE.name], { env });
  }

  /** Type=notify: the unit is started when systemd has been told. */
  async started(child: Child): Promise<void> {
    await eventually(() => {
      const text = existsSync(this.told) ? readFileSync(this.told, 'utf8') : '';
      expect(text).toContain(`/run/systemd/notify --ready --pid=${child.pid}\n`);
      return Promise.resolve();
    }, 30_000);
  }
}

const said = (child: Child, msg: string): Promise<unknown> =>
  child.waitFor('stderr', (line) => (parseLine(line)?.['msg'] === msg ? line : undefined), 30_000);

describe(`the commands of the units on ${ENGINE.name}`, () => {
  const machine = async (name: string): Promise<Machine> => {
    const m = new Machine(read(name));
    const leaf = makeCertificate({ names: ['DNS:localhost'], issuer: makeCertificate({ subject: 'systemd test CA', ca: true }) });
    writeFileSync(join(m.dir, 'etc', 'leaf.pem'), leaf.chain);
    writeFileSync(join(m.dir, 'etc', 'leaf-key.pem'), leaf.key);
    writeFileSync(
      join(m.dir, 'etc', 'edge.yaml'),
      `apiVersion: spooky.dev/v1alpha1
kind: Listener
metadata: {name: public}
spec: {addresses: ["127.0.0.1"], port: ${await freeUdpPort()}, tls: {certificateRefs: [{files: {cert: leaf.pem, key: leaf-key.pem}}]}}
---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: site}
spec: {hostnames: ["*"], backends: [{addresses: [{address: "127.0.0.1:7001"}]}]}
`,
    );
    return m;
  };

  test('one unit: start, reload, stop', async () => {
    const m = await machine('spooky.service');
    const child = m.start();
    await m.started(child);
    expect(m.command('ExecReload')).toEqual(['/bin/kill', '-HUP', '$MAINPID']);
    child.kill('SIGHUP');
    await said(child, 'reading the configuration again');
    expect(await child.stop(35_000)).toEqual({ code: 0, signal: null });
  }, 60_000);

  test('instances: the second takes over, the first ends by itself, and back again', async () => {
    const m = await machine('spooky@.service');
    const a = m.start();
    await m.started(a);
    const b = m.start();
    await m.started(b);
    await said(a, `handed over to pid ${b.pid}`);
    expect(await a.exited).toEqual({ code: 0, signal: null });
    const again = m.start();
    await m.started(again);
    expect(await b.exited).toEqual({ code: 0, signal: null });
    expect(await again.stop(35_000)).toEqual({ code: 0, signal: null });
    expect(readdirSync(join(m.dir, 'run'))).toEqual([]);
  }, 90_000);
});
