/** Caddy of the Debian sid folder. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOST } from '../h2load.ts';
import { freeUdpPort, Program, udpBound } from '../program.ts';
import { routeHost } from '../rows.ts';
import { CPU, TOOLS, type Ask, type Setting, type Subject } from '../setting.ts';
import { versionOf } from './version.ts';

const route = (host: string, backend: string): object => ({
  match: [{ host: [host] }],
  handle: [{ handler: 'reverse_proxy', transport: { protocol: 'http', versions: ['h2c'] }, upstreams: [{ dial: backend }] }],
  terminal: true,
});

/** HTTP/3 alone, no log of requests, the certificate of everyone, HTTP/2 to the backend. */
export const caddyConfig = (s: Setting, port: number, ask: Ask): object => ({
  admin: { disabled: true },
  logging: { logs: { default: { level: 'WARN' } } },
  apps: {
    http: {
      servers: {
        public: {
          listen: [`127.0.0.1:${port}`],
          protocols: ['h3'],
          idle_timeout: '300s',
          automatic_https: { disable: true },
          tls_connection_policies: [{}],
          routes: [HOST, ...Array.from({ length: ask.routes }, (_, i) => routeHost(i, HOST))].map((host) => route(host, ask.backend)),
        },
      },
    },
    tls: { certificates: { load_files: [{ certificate: s.cert, key: s.key }] } },
  },
});

export async function startCaddy(s: Setting, ask: Ask): Promise<Subject> {
  const port = await freeUdpPort();
  const dir = join(s.dir, ask.folder);
  mkdirSync(dir);
  writeFileSync(join(dir, 'caddy.json'), JSON.stringify(caddyConfig(s, port, ask)));
  const env = ['env', 'GOMAXPROCS=1', `HOME=${dir}`];
  const program = new Program(join(TOOLS, 'sid'), ['run', ...env, 'caddy', 'run', '--config', join(dir, 'caddy.json')], { cpu: CPU.proxy });
  await udpBound(program, port);
  return {
    name: 'caddy',
    version: versionOf('caddy', 'version').trim().split(' ')[0]?.replace(/^v/, '') ?? 'unknown',
    port,
    root: program.pid,
    workers: [program.pid],
    stop: () => program.stop(),
  };
}
