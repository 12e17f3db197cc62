/** HAProxy of the Debian sid folder. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOST } from '../h2load.ts';
import { freeUdpPort, Program, udpBound } from '../program.ts';
import { routeHost } from '../rows.ts';
import { CPU, TOOLS, type Ask, type Setting, type Subject } from '../setting.ts';
import { versionOf } from './version.ts';

const hosts = (ask: Ask): string[] => Array.from({ length: ask.routes }, (_, i) => routeHost(i, HOST));

/** `host backend` on each line. */
export const haproxyMap = (ask: Ask): string =>
  hosts(ask)
    .map((host) => `${host} ${host}\n`)
    .join('');

const backend = (name: string, address: string): string => `
backend ${name}
  http-reuse always
  server s ${address} proto h2
`;

/** One thread; HTTP/2 to the backend on connections that all share. limited-quic: with OpenSSL it wants to be told that 0-RTT does without. */
export const haproxyConfig = (s: Setting, dir: string, port: number, ask: Ask): string => `
global
  limited-quic
  nbthread 1
  maxconn 8000
  tune.quic.frontend.max-idle-timeout 300s

defaults
  mode http
  maxconn 8000
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s

frontend public
  bind quic4@127.0.0.1:${port} ssl crt ${s.pem} alpn h3
  use_backend %[req.hdr(host),field(1,:),lower,map_str(${dir}/hosts.map,main)]
${backend('main', ask.backend)}${hosts(ask)
  .map((host) => backend(host, ask.backend))
  .join('')}`;

export const haproxyVersion = (printed: string): string => /HAProxy version ([\d.]+)/.exec(printed)?.[1] ?? 'unknown';

export async function startHaproxy(s: Setting, ask: Ask): Promise<Subject> {
  const port = await freeUdpPort();
  const dir = join(s.dir, ask.folder);
  mkdirSync(dir);
  writeFileSync(join(dir, 'hosts.map'), haproxyMap(ask));
  writeFileSync(join(dir, 'haproxy.cfg'), haproxyConfig(s, dir, port, ask));
  const program = new Program(join(TOOLS, 'sid'), ['run', 'haproxy', '-db', '-f', join(dir, 'haproxy.cfg')], { cpu: CPU.proxy });
  await udpBound(program, port);
  return {
    name: 'haproxy',
    version: haproxyVersion(versionOf('haproxy', '-v')),
    port,
    root: program.pid,
    workers: [program.pid],
    stop: () => program.stop(),
  };
}
