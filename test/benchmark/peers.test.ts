/** The configurations that proxies are compared with. */
import { expect, test } from '@jest/globals';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { caddyConfig } from '../bench/proxy/peers/caddy.ts';
import { haproxyConfig, haproxyMap, haproxyVersion } from '../bench/proxy/peers/haproxy.ts';
import { nginxConfig, nginxVersion } from '../bench/proxy/peers/nginx.ts';
import { readyOf, spookyDocuments } from '../bench/proxy/peers/spooky.ts';
import { makeSetting, type Ask, type Setting } from '../bench/proxy/setting.ts';
import { compile } from '../../src/control/compile/index.ts';
import { loadPaths } from '../../src/control/sources/load.ts';

const setting: Setting = {
  dir: '/d',
  scratch: '/d/scratch',
  cert: '/d/cert.pem',
  key: '/d/key.pem',
  pem: '/d/both.pem',
  body: '/d/large',
  remove: () => undefined,
};
const ask = (routes: number): Ask => ({ folder: 'f', backend: '127.0.0.1:81', routes, workers: 1 });
const count = (text: string, part: string): number => text.split(part).length - 1;

test('nginx: one worker, GSO, HTTP/2 to a backend whose connections are kept, a server for each host', () => {
  const text = nginxConfig(setting, '/d/n', 4433, ask(3));
  for (const line of [
    'worker_processes 1;',
    'quic_gso on;',
    'http3 on;',
    'proxy_http_version 2;',
    'access_log off;',
    'server 127.0.0.1:81;',
  ])
    expect(text).toContain(line);
  expect([count(text, 'reuseport'), count(text, 'listen 127.0.0.1:4433 quic'), count(text, 'server_name r')]).toEqual([1, 4, 3]);
});

test('HAProxy: one thread, HTTP/2 to connections that are shared, a map of hosts to backends', () => {
  const text = haproxyConfig(setting, '/d/h', 4433, ask(3));
  for (const line of ['limited-quic', 'nbthread 1', 'maxconn 8000', 'bind quic4@127.0.0.1:4433 ssl crt /d/both.pem alpn h3'])
    expect(text).toContain(line);
  expect([count(text, 'http-reuse always'), count(text, 'server s 127.0.0.1:81 proto h2')]).toEqual([4, 4]);
  expect(haproxyMap(ask(2))).toBe('r0.bench.test r0.bench.test\nr1.bench.test r1.bench.test\n');
});

test('Caddy: HTTP/3 alone, h2c, a route for each host', () => {
  const text = JSON.stringify(caddyConfig(setting, 4433, ask(3)));
  expect(text).toContain('"protocols":["h3"]');
  expect([count(text, '"versions":["h2c"]'), count(text, '"dial":"127.0.0.1:81"'), count(text, '"host":["r')]).toEqual([4, 4, 3]);
});

test('Spooky: documents without a problem, an Upstream for each host', async () => {
  const made = makeSetting();
  try {
    const file = join(made.dir, 'spooky.yaml');
    const text = spookyDocuments(made, 4433, ask(100));
    writeFileSync(file, text);
    expect(count(text, 'kind: Upstream')).toBe(103);
    const { state } = await loadPaths([file], { cwd: made.dir });
    expect(state.problems).toEqual([]);
    const compiled = compile(state.set, { standalone: true });
    expect(compiled.problems).toEqual([]);
    expect([...compiled.parts.values()].filter((part) => part.kind === 'upstream')).toHaveLength(103);
  } finally {
    made.remove();
  }
});

test('versions, and the line that says that Spooky is ready', () => {
  expect([nginxVersion('nginx version: nginx/1.30.6\n'), nginxVersion('')]).toEqual(['1.30.6', 'unknown']);
  expect([haproxyVersion('HAProxy version 3.2.26-1 2026/10/14'), haproxyVersion('')]).toEqual(['3.2.26', 'unknown']);
  expect(readyOf('{"msg":"ready","admin":"127.0.0.1:1"}')).toMatchObject({ admin: '127.0.0.1:1' });
  expect([readyOf('{"msg":"started","is":"ready"}'), readyOf('ready')]).toEqual([undefined, undefined]);
});
