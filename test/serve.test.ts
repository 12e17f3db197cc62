/** `spooky serve` as a whole: real processes, real sockets, real signals. Needs `make build`. */
import { describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Fields } from '../src/edge/http/fields.ts';
import { fetchOnce, type H3Response } from '../src/edge/http/h3/client.ts';
import { machineOf, workerCount } from '../src/control/size.ts';
import { systemClock } from '../src/lib/clock.ts';
import { ENGINE } from './kit/engine.ts';
import { Client } from './kit/gateway.ts';
import { Child, eventually, freeUdpPort, parseLine, run } from './kit/process.ts';
import { Site } from './kit/site.ts';
import { makeCertificate } from './kit/x509.ts';
import { alive, BIN, startSpooky, temporaryFolder, within, type Spooky } from './kit/spooky.ts';

const site = new Site();
const { files, leaf } = site;

const documents = (port: number, more = ''): string => site.documents(port, { more });

const ask = (port: number, path: string, headers: Record<string, string> = {}, timeoutMs = 5000, insecure = false): Promise<H3Response> => {
  const fields = new Fields();
  for (const [name, value] of Object.entries(headers)) fields.add(name, value);
  return fetchOnce(
    ENGINE,
    { ...site.dial(port), handshakeMs: timeoutMs, insecure },
    { method: 'GET', scheme: 'https', authority: `localhost:${port}`, path, fields, body: null },
    systemClock,
    timeoutMs,
  );
};

const start = async (args: readonly string[] = [], more = ''): Promise<{ spooky: Spooky; port: number }> => {
  const port = await freeUdpPort();
  return { spooky: await startSpooky({ documents: documents(port, more), files, args }), port };
};
/** A folder with `c.yaml` and the certificate that it names. */
const folderWith = (config: string): string => site.folder({ 'c.yaml': config });

describe(`serving on ${ENGINE.name}`, () => {
  test('ready says what is bound; requests go through; each has its line', async () => {
    const { spooky, port } = await start(['--access-log', 'all']);
    expect(spooky.ready).toMatchObject({
      level: 'info',
      workers: 1,
      workersWhy: 'as set',
      listeners: [{ listener: 'default/public', addresses: [`127.0.0.1:${port}`] }],
    });
    expect(await ask(port, '/status/418')).toMatchObject({ status: 418, bodyBytes: 4 });
    const line = await spooky.child.waitFor('stdout', parseLine);
    expect(line).toMatchObject({ upstream: 'default/site', path: '/status/418', status: 418, reason: 'ok', protocol: 'HTTP/3' });
    expect((await spooky.text(`${spooky.metricsUrl}/readyz`)).status).toBe(200);
    expect((await spooky.text(`${spooky.metricsUrl}/healthz`)).status).toBe(200);
    expect(await spooky.metric('spooky_requests_total', { listener: 'default/public', upstream: 'default/site', code: '418' })).toBe(1);
    expect(await spooky.stop()).toEqual({ code: 0, signal: null });
  });

  test('a change takes over, an invalid one is refused, counted and shown, and the last good one serves on; HUP reads again', async () => {
    const { spooky, port } = await start();
    await spooky.apply(
      documents(port).replace('hostnames: ["*"]', 'hostnames: ["*"]\n  matches: [{path: {type: Prefix, value: /status}}]'),
    );
    expect((await ask(port, '/status/299')).status).toBe(299);
    expect((await ask(port, '/bytes/5')).status).toBe(404);

    spooky.change(documents(port).replace('hostnames:', 'hostname:').replace('port:', 'prot:'));
    await spooky.metricAbove('spooky_config_apply_total', { result: 'invalid' }, 0);
    expect((await ask(port, '/status/299')).status).toBe(299);
    const config = await spooky.admin<{ version: number; lastChange: { result: string; problems: string[] } }>('/admin/config');
    expect(config).toMatchObject({ version: 2, lastChange: { result: 'invalid' } });
    expect(config.lastChange.problems.join('\n')).toMatch(/spooky\.yaml:\d+:\d+: Listener default\/public: spec\.prot/);
    expect(config.lastChange.problems.join('\n')).toMatch(/spooky\.yaml:\d+:\d+: Upstream default\/site: spec\.hostname/);
    expect(spooky.logs('configuration problem').length).toBeGreaterThanOrEqual(2);
    expect((await spooky.text(`${spooky.metricsUrl}/readyz`)).status).toBe(200);

    await spooky.apply(documents(port));
    expect((await ask(port, '/bytes/5')).status).toBe(200);

    const before = await spooky.metric('spooky_config_apply_total', { result: 'applied' });
    spooky.child.kill('SIGHUP');
    await spooky.metricAbove('spooky_config_apply_total', { result: 'applied' }, before);
    expect(await spooky.stop()).toEqual({ code: 0, signal: null });
  });

  test('a certificate that can be read, and is not for this engine, is refused with its change', async () => {
    const odd = makeCertificate({ names: ['DNS:localhost'], issuer: site.ca, pathLength: 3 });
    const fault = ENGINE.unfit({ cert: Buffer.from(odd.chain), key: Buffer.from(odd.key) });
    const { spooky, port } = await start();
    writeFileSync(join(spooky.dir, 'odd.pem'), odd.chain);
    writeFileSync(join(spooky.dir, 'odd-key.pem'), odd.key);
    const next = documents(port).replaceAll('leaf', 'odd');
    if (fault === null) await spooky.apply(next);
    else {
      spooky.change(next);
      await spooky.metricAbove('spooky_config_apply_total', { result: 'failed' }, 0);
      expect(await spooky.metric('spooky_config_up_to_date', {})).toBe(0);
      const [refusal] = spooky.logs('configuration not applied');
      expect(refusal).toMatchObject({ result: 'failed', serving: 1 });
      expect(refusal?.['why']).toBe(`listener default/public cannot be served: ${join(spooky.dir, 'odd.pem')}: ${fault}`);
    }
    // Where it is served, a client of the same TLS library does not take it.
    expect(await ask(port, '/bytes/5', {}, 5000, fault === null)).toMatchObject({ status: 200 });
    expect(await spooky.stop()).toEqual({ code: 0, signal: null });
  });

  test('USR1 opens no debugger, neither of the main process nor of a worker', async () => {
    const { spooky, port } = await start();
    const pids = [spooky.child.pid, ...(await spooky.workers()).map((w) => w.pid)];
    for (const pid of pids) process.kill(pid, 'SIGUSR1');
    // Both have had turns since: the main process reads the configuration, the worker takes it.
    const before = await spooky.metric('spooky_config_apply_total', { result: 'applied' });
    spooky.child.kill('SIGHUP');
    await spooky.metricAbove('spooky_config_apply_total', { result: 'applied' }, before);
    await ask(port, '/');
    expect(spooky.child.stderr.filter((line) => line.includes('Debugger'))).toEqual([]);
    expect(await spooky.stop()).toEqual({ code: 0, signal: null });
  });

  test('settings of a document hold, and the level changes while it runs', async () => {
    const settings = (level: string): string =>
      `---\napiVersion: spooky.dev/v1alpha1\nkind: Settings\nspec: {logLevel: ${level}, accessLog: all}\n`;
    const { spooky, port } = await start([], settings('scream'));
    await ask(port, '/');
    await spooky.child.waitFor('stdout', parseLine);
    expect(spooky.logs('configuration applied')).toEqual([]);
    await spooky.apply(documents(port, settings('haunt').replace('accessLog: all', 'accessLog: off')));
    await spooky.child.waitFor('stderr', (line) => (line.includes('"msg":"configuration applied"') ? line : undefined));
    expect(spooky.logs('settings that change at the next start only')).toMatchObject([{ settings: ['accessLog'] }]);
    await spooky.stop();
  });

  test('auto: a worker for each core that the process may use, and every place says why', async () => {
    const expected = workerCount('auto', machineOf());
    const { spooky, port } = await start(['--workers', 'auto']);
    expect(spooky.ready).toMatchObject({ workers: expected.count, workersWhy: expected.why });
    expect(await spooky.admin('/admin/workers')).toMatchObject({ chosen: expected.why });
    expect(await spooky.workers()).toHaveLength(expected.count);
    expect((await ask(port, '/')).status).toBe(200);
    expect(await spooky.stop()).toEqual({ code: 0, signal: null });
  });

  test('two workers serve side by side', async () => {
    const { spooky, port } = await start(['--workers', '2']);
    expect(spooky.ready).toMatchObject({ workers: 2 });
    const answers = await Promise.all(Array.from({ length: 12 }, () => ask(port, '/')));
    expect(answers.map((a) => a.status)).toEqual(answers.map(() => 200));
    expect(await spooky.metricAbove('spooky_requests_total', { code: '200' }, 11)).toBe(12);
    expect(await spooky.stop()).toEqual({ code: 0, signal: null });
  });

  test('bare `spooky --config FILE` serves', async () => {
    const port = await freeUdpPort();
    const dir = folderWith(documents(port));
    const child = new Child(BIN, ['--config', 'c.yaml', '--metrics', 'off', '--admin', 'off'], { cwd: dir });
    const ready = await child.waitFor('stderr', (line) => (line.includes('"msg":"ready"') ? parseLine(line) : undefined));
    expect(ready).toMatchObject({ metrics: null, admin: null });
    expect((await ask(port, '/')).status).toBe(200);
    expect(await child.stop()).toEqual({ code: 0, signal: null });
  });
});

describe(`workers on ${ENGINE.name}`, () => {
  test('one killed with -9 is replaced in under a second, and counters go on from where they were', async () => {
    const { spooky, port } = await start();
    for (let i = 0; i < 3; i++) await ask(port, '/');
    expect(await spooky.metric('spooky_requests_total', { code: '200' })).toBe(3);
    const [worker] = await spooky.workers();
    const killed = performance.now();
    process.kill(worker?.pid ?? 0, 'SIGKILL');
    await eventually(() => ask(port, '/', {}, within(spooky, 1000) / 5), 30_000, 5);
    expect(performance.now() - killed).toBeLessThan(within(spooky, 1000));
    expect(await spooky.metric('spooky_requests_total', { code: '200' })).toBe(4);
    expect(await spooky.metric('spooky_worker_restarts_total', { reason: 'signal' })).toBe(1);
    expect(spooky.logs('worker ended')).toMatchObject([{ reason: 'signal', signal: 'SIGKILL' }]);
    expect(await spooky.stop()).toEqual({ code: 0, signal: null });
  });

  test('one that hangs is replaced in under three seconds', async () => {
    const { spooky, port } = await start();
    const [worker] = await spooky.workers();
    const stopped = performance.now();
    process.kill(worker?.pid ?? 0, 'SIGSTOP');
    await eventually(() => ask(port, '/', {}, within(spooky, 1000) / 5), 30_000, 20);
    expect(performance.now() - stopped).toBeLessThan(2000 + within(spooky, 1000));
    expect(spooky.logs('worker ended')).toMatchObject([{ reason: 'hung', signal: 'SIGKILL', quickEnds: 1, restartInMs: 0 }]);
    expect(await spooky.metric('spooky_worker_restarts_total', { reason: 'hung' })).toBe(1);
    expect(await spooky.stop()).toEqual({ code: 0, signal: null });
  });

  test.each([0, 1])(
    'of two, number %i killed: the connections of the other go on, also where the kernel now sends their datagrams to the successor',
    async (victim) => {
      const { spooky, port } = await start(['--workers', '2']);
      const clients = await Promise.all(Array.from({ length: 16 }, () => Client.connect(ENGINE, port, 'localhost', { idleMs: 4000 })));
      for (const c of clients) expect((await c.get('/', [], 'localhost')).status).toBe(200);
      const open = clients.map((c) => c.get('/slow?ms=2000', [], 'localhost'));
      const before = await spooky.workers();
      process.kill(before[victim]?.pid ?? 0, 'SIGKILL');
      await eventually(async () => {
        const now = await spooky.workers();
        expect(now[victim]?.pid).not.toBe(before[victim]?.pid);
        expect((await spooky.text(`${spooky.metricsUrl}/readyz`)).status).toBe(200);
      });
      // Each goes on as soon as it has its answer: waiting for the end of the dead would let the living idle as long.
      const statuses = await Promise.all(
        clients.map(async (c, i) => {
          const list = [(await open[i])?.status];
          for (let round = 0; round < 3 && list[0] === 200; round++) list.push((await c.get('/', [], 'localhost')).status);
          return list;
        }),
      );
      const others = statuses.filter((list) => list[0] === 200);
      expect(others.length).toBeGreaterThan(0);
      expect(others.length).toBeLessThan(clients.length);
      expect(others).toEqual(others.map(() => [200, 200, 200, 200]));
      expect(await spooky.stop()).toEqual({ code: 0, signal: null });
    },
  );

  test('when the main process is killed its workers end', async () => {
    const { spooky } = await start(['--workers', '2']);
    const pids = (await spooky.workers()).map((w) => w.pid);
    expect(pids.map(alive)).toEqual([true, true]);
    const killed = performance.now();
    spooky.child.kill('SIGKILL');
    await spooky.child.exited;
    await eventually(() => (pids.some(alive) ? Promise.reject(new Error('still there')) : Promise.resolve()));
    expect(performance.now() - killed).toBeLessThan(within(spooky, 5000));
  });
});

describe(`the end on ${ENGINE.name}`, () => {
  test('TERM: not ready from the first moment, everything still accepted for --drain-delay, then exit 0', async () => {
    const { spooky, port } = await start(['--drain-delay', '4s']);
    const slow = ask(port, '/slow?ms=4500', {}, 30_000);
    const asked = performance.now();
    spooky.child.kill('SIGTERM');
    await eventually(
      async () => expect(await spooky.text(`${spooky.metricsUrl}/readyz`)).toEqual({ status: 503, body: 'draining\n' }),
      3500,
      5,
    );
    expect((await spooky.text(`${spooky.metricsUrl}/drainz`)).body).toBe('draining\n');
    expect((await spooky.text(`${spooky.metricsUrl}/healthz`)).status).toBe(200);
    expect((await ask(port, '/')).status).toBe(200);
    expect((await slow).status).toBe(200);
    expect(await spooky.child.exited).toEqual({ code: 0, signal: null });
    // A drain that waits in vain takes half a minute.
    expect(performance.now() - asked).toBeLessThan(within(spooky, 15_000));
  });

  test('a second signal ends it at once', async () => {
    const { spooky, port } = await start(['--drain-delay', '1h']);
    const [worker] = await spooky.workers();
    await ask(port, '/');
    spooky.child.kill('SIGINT');
    await spooky.child.waitFor('stderr', (line) => (line.includes('"msg":"draining"') ? line : undefined));
    const asked = performance.now();
    spooky.child.kill('SIGTERM');
    expect(await spooky.child.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - asked).toBeLessThan(within(spooky, 3000));
    await eventually(() => (alive(worker?.pid ?? 0) ? Promise.reject(new Error('still there')) : Promise.resolve()));
  });
});

describe('exit codes', () => {
  const serve = (dir: string, ...args: string[]) => run(BIN, ['serve', ...args], { cwd: dir, timeoutMs: 20_000 });
  const off = ['--config', 'c.yaml', '--metrics', 'off', '--admin', 'off'];

  test('1: an invalid first state, every problem said, nothing bound', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const taken = (server.address() as AddressInfo).port;
    const dir = folderWith(documents(8443).replace('spec:', 'specs:').replace('hostnames:', 'hostname:'));
    // With an address that is taken: it would be 3 if anything had been bound before the configuration was judged.
    const result = await serve(dir, '--config', 'c.yaml', '--metrics', `127.0.0.1:${taken}`, '--admin', 'off', '--log-format', 'plain');
    server.close();
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/^c\.yaml:\d+:\d+: Listener default\/public: .*specs/m);
    expect(result.stderr).toMatch(/^c\.yaml:\d+:\d+: Upstream default\/site: spec\.hostname/m);
    expect(result.stderr).toContain('nothing was bound');
  });

  test('with a log that is off a start that fails is no riddle', async () => {
    const dir = folderWith(documents(8443).replace('spec:', 'specs:'));
    const result = await serve(dir, ...off, '--log-level', 'off', '--log-format', 'json');
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/^c\.yaml:\d+:\d+: Listener default\/public: .*specs.*$/m);
    expect(result.stderr).toMatch(/^spooky serve: c\.yaml: the configuration is invalid, nothing was bound$/m);
  });

  test('1: a certificate that is missing, a key file that is too short', async () => {
    const missing = await serve(folderWith(documents(8443).replace('cert: leaf.pem', 'cert: nowhere.pem')), ...off);
    expect([missing.code, missing.stderr.includes('nowhere.pem')]).toEqual([1, true]);
    const dir = folderWith(documents(8443));
    writeFileSync(join(dir, 'key'), 'short');
    const short = await serve(dir, ...off, '--key-file', 'key');
    expect([short.code, short.stderr.includes('at least 32')]).toEqual([1, true]);
  });

  test('1: a place for the take-over socket that is none', async () => {
    const dir = folderWith(documents(8443));
    for (const [path, why] of [
      [join(dir, 'none', 'socket'), 'cannot be listened at: there is no such folder'],
      [join(dir, 'c.yaml'), 'is no socket: what is there stays'],
    ] as const) {
      const result = await serve(dir, ...off, '--takeover', path);
      expect(result.stderr).toContain(`--takeover: ${path} ${why}`);
      expect(result.code).toBe(1);
    }
  });

  test.each([
    [['--kubernetes', '--config', 'c.yaml'], ['--config and --kubernetes exclude each other']],
    [['--config', 'c.yaml', '--class', 'edge'], ['--class: needs --kubernetes']],
    [
      ['--config', 'c.yaml', '--takeover', 'run/x', '--runtime-dir', '.'],
      ['--takeover: must be an absolute path', '--runtime-dir: must be an absolute path'],
    ],
    [['--kubernetes', '--takeover', '/run/x'], ['--takeover: not with --kubernetes: a pod has its own processes']],
    [['--config', 'c.yaml', '--worker', '2'], ['did you mean --workers?']],
    [
      ['--config', 'c.yaml', '--workers', 'many', '--drain-timeout', 'soon'],
      ['--workers:', '--drain-timeout:'],
    ],
    [['--config', 'c.yaml', '--admin', '0.0.0.0:0'], ['--admin-token-file']],
    [[], ['--config is missing']],
    [['--config', ''], ['--config must be the path of a file or a folder, not empty']],
    [['c.yaml'], ['--config']],
  ])('2: serve %j', async (args, said) => {
    const result = await serve(folderWith(documents(8443)), ...args);
    expect(result.code).toBe(2);
    for (const text of said) expect(result.stderr).toContain(text);
  });

  test('2: an unknown command, with the one that was meant', async () => {
    const result = await run(BIN, ['sevre']);
    expect([result.code, result.stderr]).toEqual([2, 'spooky: unknown command "sevre" (did you mean serve?); spooky help lists all']);
  });

  test('3: an address of the metrics that is taken, and by whom', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const result = await serve(folderWith(documents(8443)), '--config', 'c.yaml', '--metrics', `127.0.0.1:${port}`, '--admin', 'off');
    server.close();
    expect(result.code).toBe(3);
    expect(result.stderr).toContain(`127.0.0.1:${port} cannot be bound`);
    expect(result.stderr).toContain(`held by process ${process.pid}`);
  });

  test('3: a UDP port that is taken, and by whom', async () => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const { port } = socket.address();
    const result = await serve(folderWith(documents(port)), ...off);
    socket.close();
    expect(result.code).toBe(3);
    expect(result.stderr).toContain(`listener default/public, port ${port}: `);
    expect(result.stderr).toContain(`held by process ${process.pid}`);
  });

  test.each([1, 2])('3: a UDP port of another spooky, which would share it, with %i workers', async (count) => {
    const { spooky, port } = await start(['--workers', String(count)]);
    const result = await serve(folderWith(documents(port)), ...off, '--workers', '2');
    expect(result.code).toBe(3);
    expect(result.stderr).toContain(`listener default/public, port ${port}: `);
    const held = Number(/held by process (\d+) /.exec(result.stderr)?.[1]);
    expect((await spooky.workers()).map((w) => w.pid)).toContain(held);
    expect((await spooky.workers()).every((w) => w.state === 'up')).toBe(true);
  });

  /** `code` runs in every process before its own. */
  const spoiled = async (code: string, args = ['serve', ...off]) => {
    const dir = site.folder({ 'c.yaml': documents(await freeUdpPort()), 'spoil.mjs': code });
    const env = { NODE_OPTIONS: `--import ${join(dir, 'spoil.mjs')}` };
    return run(BIN, args, { cwd: dir, env, timeoutMs: 60_000 });
  };

  test('5: a valid configuration, and workers that end before they have begun', async () => {
    const { code, stderr } = await spoiled(`if (/worker\\.[jt]s$/.test(process.argv[1] ?? '')) process.exit(7);`);
    expect(code).toBe(5);
    expect(stderr).toContain('worker processes end before they have begun (exit, code 7, signal null)');
  }, 90_000);

  test('5: a defect before anything serves', async () => {
    const hostname = `() => { if (new Error().stack.includes('serve/run')) throw new Error('a defect'); return 'here'; }`;
    const { code, stderr } = await spoiled(
      `import os from 'node:os'; import { syncBuiltinESMExports } from 'node:module'; os.hostname = ${hostname}; syncBuiltinESMExports();`,
    );
    expect(code).toBe(5);
    expect(stderr.split('\n').map((line) => parseLine(line)?.['msg'])).toContain('internal error');
    expect(stderr).toContain('a defect');
  }, 90_000);

  test('5: a defect of another command, which is none of its answers', async () => {
    const own = `const own = JSON.stringify; JSON.stringify = (...args) => {`;
    const { code, stderr } = await spoiled(
      `${own} if (new Error().stack.includes('cli/check')) throw new Error('a defect'); return own(...args); };`,
      ['check', 'c.yaml', '--output', 'json'],
    );
    expect(code).toBe(5);
    expect(stderr).toMatch(/^spooky: internal error: Error: a defect\n/);
  }, 90_000);

  test('1: no place for the folder between workers', async () => {
    const dir = folderWith(documents(await freeUdpPort()));
    const result = await serve(dir, ...off, '--workers', '2', '--runtime-dir', join(dir, 'none'));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('--runtime-dir: no folder for sockets between workers: ENOENT');
  });

  test('the folder between workers goes with them', async () => {
    const place = temporaryFolder();
    const { spooky } = await start(['--workers', '2', '--runtime-dir', place]);
    const [folder] = readdirSync(place);
    expect(folder).toMatch(/^spooky-/);
    expect((await spooky.stop()).code).toBe(0);
    expect(readdirSync(place)).toEqual([]);
  });

  test('4: an engine that is not there', async () => {
    const dir = folderWith(documents(await freeUdpPort()));
    const env = { SPOOKY_NATIVE: join(dir, 'none.node') };
    const result = await run(BIN, ['serve', ...off, '--engine', 'native'], { cwd: dir, timeoutMs: 20_000, env });
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('none.node is not there: `make native` builds it');
  });

  test('4: what the engine cannot do is refused by name', async () => {
    const dir = folderWith(documents(await freeUdpPort()));
    const env = { SPOOKY_KEYLOG: join(dir, 'keys') };
    const result = await run(BIN, ['serve', ...off, '--engine', 'matrixai'], { cwd: dir, timeoutMs: 20_000, env });
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('the matrixai engine cannot honour keylog');
  });
});

describe('the engine', () => {
  test(`${ENGINE.name}: the ready line, the workers and a metric name it`, async () => {
    const { spooky } = await start();
    expect(spooky.ready).toMatchObject({ engine: ENGINE.name, engineVersion: ENGINE.version });
    expect(await spooky.metric('spooky_build_info', { engine: ENGINE.name, engine_version: ENGINE.version })).toBe(1);
    expect(await spooky.metric('spooky_engine_fallback', {})).toBe(0);
    expect(spooky.logs('the preferred QUIC engine cannot be used')).toEqual([]);
    await spooky.stop();
  });

  test('auto serves without the native one: one warning says why, and a metric', async () => {
    const port = await freeUdpPort();
    const args = ['--engine', 'auto', '--workers', '2'];
    const spooky = await startSpooky({ documents: documents(port), files, args, env: { SPOOKY_NATIVE: '/nowhere/none.node' } });
    expect(spooky.ready).toMatchObject({ engine: 'matrixai' });
    expect(spooky.logs('the preferred QUIC engine cannot be used')).toMatchObject([
      { why: 'the native engine cannot be used: /nowhere/none.node is not there: `make native` builds it' },
    ]);
    // A scrape does not wait for a worker that is busy starting.
    expect(await spooky.metricAbove('spooky_engine_fallback', {}, 0)).toBe(1);
    expect((await ask(port, '/')).status).toBe(200);
    await spooky.stop();
  });

  (ENGINE.name === 'native' ? test : test.skip)('native: secrets and packets on disk are said once', async () => {
    const port = await freeUdpPort();
    const dir = temporaryFolder();
    const env = { SPOOKY_KEYLOG: join(dir, 'keys'), SPOOKY_QLOG: dir };
    const spooky = await startSpooky({ documents: documents(port), files, args: ['--workers', '2'], env });
    expect((await ask(port, '/')).status).toBe(200);
    expect(spooky.logs('TLS secrets are written to a file')).toMatchObject([{ file: env.SPOOKY_KEYLOG }]);
    expect(spooky.logs('every packet is logged to a folder')).toMatchObject([{ folder: dir }]);
    await spooky.stop();
    expect(readFileSync(env.SPOOKY_KEYLOG, 'utf8')).toMatch(/^SERVER_TRAFFIC_SECRET_0 /m);
    expect(readdirSync(dir).length).toBe(2);
  });
});

describe('lines', () => {
  test('a log file is opened again on HUP, as rotation wants it', async () => {
    const port = await freeUdpPort();
    const dir = folderWith(documents(port));
    const child = new Child(BIN, ['serve', '--config', 'c.yaml', '--metrics', 'off', '--admin', 'off', '--log-file', 'log'], { cwd: dir });
    const read = (name: string): string => (existsSync(join(dir, name)) ? readFileSync(join(dir, name), 'utf8') : '');
    const says = (name: string, msg: string): Promise<void> =>
      eventually(() => (read(name).includes(`"msg":"${msg}"`) ? Promise.resolve() : Promise.reject(new Error(read(name)))), 20_000);
    await says('log', 'ready');
    renameSync(join(dir, 'log'), join(dir, 'log.1'));
    child.kill('SIGHUP');
    await says('log', 'configuration applied');
    expect(read('log.1')).not.toContain('configuration applied');
    expect(await child.stop()).toEqual({ code: 0, signal: null });
    expect(read('log')).toContain('"msg":"drained"');
    expect(child.stderr).toEqual([]);
  });

  test('HUP while the program itself is still being loaded is one that comes before the start', async () => {
    const port = await freeUdpPort();
    const dir = site.folder({
      'c.yaml': documents(port),
      'early.mjs': `import { registerHooks } from 'node:module';
        const load = (url, context, next) => {
          if (url.endsWith('/cli/serve.js')) process.kill(process.pid, 'SIGHUP');
          return next(url, context);
        };
        registerHooks({ load });`,
    });
    const env = { NODE_OPTIONS: `--import ${join(dir, 'early.mjs')}` };
    const child = new Child(BIN, ['serve', '--log-format', 'json', '--config', 'c.yaml', '--metrics', 'off', '--admin', 'off'], {
      cwd: dir,
      env,
    });
    const ready = child.waitFor('stderr', (line) => (parseLine(line)?.['msg'] === 'ready' ? 'ready' : undefined));
    expect(await Promise.race([ready, child.exited])).toBe('ready');
    expect(child.stderr.map((line) => parseLine(line)?.['msg'])).toContain('reading the configuration again');
    expect(await child.stop()).toEqual({ code: 0, signal: null });
  });

  test('a reader of the access log that stalls costs lines, counted, and never traffic', async () => {
    const port = await freeUdpPort();
    const dir = folderWith(documents(port));
    const child = spawn(
      BIN,
      ['serve', '--config', 'c.yaml', '--workers', '1', '--metrics', '127.0.0.1:0', '--admin', 'off', '--access-log', 'all'],
      {
        cwd: dir,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    child.stdout.pause();
    let said = '';
    child.stderr.on('data', (b: Buffer) => (said += b.toString()));
    await eventually(() => (said.includes('"msg":"ready"') ? Promise.resolve() : Promise.reject(new Error('not ready'))), 20_000);
    const metrics = String(parseLine(said.split('\n').find((line) => line.includes('"msg":"ready"')) ?? '')?.['metrics']);
    const dropped = async (): Promise<number> => {
      const body = await (await fetch(`http://${metrics}/metrics`)).text();
      return Number(/^spooky_log_lines_dropped_total\{stream="access"\} (\d+)$/m.exec(body)?.[1] ?? 0);
    };
    // Each line is some seven kilobytes: the user agent's bytes are escaped one by one.
    const headers = { 'user-agent': '\u00e9'.repeat(1024) };
    let lost = 0;
    for (let round = 0; round < 60 && lost === 0; round++) {
      const answers = await Promise.all(Array.from({ length: 32 }, () => ask(port, `/?${'x'.repeat(1000)}`, headers, 10_000)));
      expect(answers.every((a) => a.status === 200)).toBe(true);
      lost = await dropped();
    }
    expect(lost).toBeGreaterThan(0);
    let read = '';
    child.stdout.on('data', (b: Buffer) => (read += b.toString()));
    child.stdout.resume();
    child.kill('SIGTERM');
    await once(child, 'close');
    expect(child.exitCode).toBe(0);
    const lines = read.trimEnd().split('\n');
    expect(lines.length).toBeGreaterThan(100);
    for (const line of lines) expect(parseLine(line)).toMatchObject({ status: 200 });
  });
});

test('a group whose CA is missing answers 500 and its neighbours serve; its repair is a change like any other', async () => {
  const port = await freeUdpPort();
  const tls =
    '\n---\napiVersion: spooky.dev/v1alpha1\nkind: Upstream\nmetadata: {name: tls}\nspec:\n  hostnames: ["*"]\n  matches: [{path: {value: /tls}}]\n';
  const broken = `${tls}  protocol: H2\n  tls: {caRef: {files: {ca: gone.pem}}}\n  backends: [{addresses: [{address: "127.0.0.1:${site.demo.port}"}]}]\n`;
  const spooky = await startSpooky({ documents: documents(port, broken), files });
  expect((await ask(port, '/')).status).toBe(200);
  const answer = await ask(port, '/tls');
  expect([answer.status, answer.fields.get('proxy-status')]).toEqual([500, expect.stringContaining('error=proxy_configuration_error')]);
  expect(spooky.child.stderr.join('\n')).toContain('gone.pem');
  const mended = `${tls}  backends: [{addresses: [{address: "127.0.0.1:${site.demo.port}"}]}]\n`;
  await spooky.apply(documents(port, mended));
  expect((await ask(port, '/tls')).status).toBe(404);
  spooky.change(documents(port, broken));
  await spooky.metricAbove('spooky_config_apply_total', { result: 'invalid' }, 0);
  expect((await ask(port, '/tls')).status).toBe(404);
  await spooky.stop();
});

test('secrets are in no output (K13)', async () => {
  const port = await freeUdpPort();
  const token = 'canary-token-0123456789';
  const installationKey = 'canary-installation-key-0123456789abcdef';
  const spooky = await startSpooky({
    documents: documents(port),
    files: { ...files, token: `${token}\n`, key: installationKey },
    args: ['--admin-token-file', 'token', '--key-file', 'key', '--log-level', 'trace', '--access-log', 'all'],
  });
  const headers = { authorization: 'Bearer canary-authorization', cookie: 'session=canary-cookie', 'x-api-key': 'canary-api-key' };
  expect((await ask(port, '/whoami', headers)).status).toBe(200);
  await spooky.child.waitFor('stdout', parseLine);
  expect((await fetch(`${spooky.adminUrl}/admin/config`)).status).toBe(401);
  const paths = ['config', 'upstreams', 'listeners', 'certificates', 'workers'];
  const outputs = await Promise.all(
    paths.map(async (path) => {
      const answer = await fetch(`${spooky.adminUrl}/admin/${path}`, { headers: { authorization: `Bearer ${token}` } });
      expect(answer.status).toBe(200);
      return answer.text();
    }),
  );
  outputs.push((await spooky.text(`${spooky.metricsUrl}/metrics`)).body);
  spooky.change(documents(port).replace('port:', 'prot:'));
  await spooky.metricAbove('spooky_config_apply_total', { result: 'invalid' }, 0);
  await spooky.stop();
  const everything = [...outputs, ...spooky.child.stdout, ...spooky.child.stderr].join('\n');
  expect(everything).toContain('default/site');
  const keyBody = leaf.key.split('\n').slice(1, -2);
  for (const canary of ['canary-', 'PRIVATE KEY', ...keyBody]) expect(everything).not.toContain(canary);
});
