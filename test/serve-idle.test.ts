/** A worker that has collected while it was idle is as fast as before. Needs `make build`. */
import { expect, test } from '@jest/globals';
import { cpuTicks } from './bench/proxy/stat.ts';
import { ENGINE } from './kit/engine.ts';
import { Client } from './kit/gateway.ts';
import { eventually, freeUdpPort } from './kit/process.ts';
import { Site } from './kit/site.ts';
import { startSpooky } from './kit/spooky.ts';

const site = new Site();
/** The idle worker collects for the sake of more than two seconds of work. */
const WORK_TICKS = 300;
/** Some belong to what an idle worker has none of, and need few calls to be compiled again. */
const MOST_LOST = 20;

/** Node takes only a few of V8's flags from the environment, and a module that sets any. */
const TRACES = ['--trace-opt', '--trace-deopt', '--trace-gc'];
const PRELOAD = `import{setFlagsFromString as f}from'node:v8';${JSON.stringify(TRACES)}.forEach(f)`;
const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(PRELOAD)}`;

test(`what V8 has compiled for requests outlives a collection without any, on ${ENGINE.name}`, async () => {
  const port = await freeUdpPort();
  const spooky = await startSpooky({ documents: site.documents(port), files: site.files, env: { NODE_OPTIONS } });
  const worker = await spooky.worker();
  const clients = await Promise.all(
    Array.from({ length: 8 }, () => Client.connect(ENGINE, port, 'localhost', { idleMs: 20_000, handshakeMs: 10_000 })),
  );
  for (let round = 0; round < 10_000 && cpuTicks([worker]) < WORK_TICKS; round++) {
    const answers = await Promise.all(clients.flatMap((c) => Array.from({ length: 20 }, () => c.get('/bytes/100', [], 'localhost'))));
    expect(answers.every((a) => a.status === 200)).toBe(true);
  }
  for (const c of clients) c.conn.close(true, 0x100, '');
  const lines = (): string[] => spooky.logs('worker output').map((line) => String(line['line']));
  const collection = (line: string): boolean => / ms: Mark-Compact .*testing; GC/.test(line);
  await eventually(() => {
    expect(lines().some(collection)).toBe(true);
    return Promise.resolve();
  }, 60_000);
  const before = lines().slice(0, lines().findIndex(collection));
  const compiled = before.filter((line) => /^\[completed (?:compiling|optimizing)/.test(line)).length;
  expect(compiled).toBeGreaterThan(50);
  // One object of each kind keeps it; without these it is a hundred functions (matrixai: forty).
  const lost = before.flatMap((line) =>
    line.includes('embedded weak objects cleared') ? [/SharedFunctionInfo ([^>]*)>/.exec(line)?.[1]] : [],
  );
  expect(lost.length > MOST_LOST ? lost : []).toEqual([]);
  expect(await spooky.stop()).toEqual({ code: 0, signal: null });
}, 120_000);
