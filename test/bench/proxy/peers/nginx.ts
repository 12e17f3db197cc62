/** nginx of the Debian sid folder. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freeUdpPort, Program, udpBound, wait } from '../program.ts';
import { routeHost } from '../rows.ts';
import { HOST } from '../h2load.ts';
import { CPU, TOOLS, type Ask, type Setting, type Subject } from '../setting.ts';
import { childrenOf } from '../stat.ts';
import { versionOf } from './version.ts';

/** Of each connection by QUIC it takes eight: one for itself, three for each side's streams of HTTP/3, one for a request. */
const CONNECTIONS = 65_536;

/** What its configuration as a proxy and as the backend have in common. */
export const nginxFrame = (dir: string, http: string): string => `
daemon off;
user root;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log stderr warn;
events { worker_connections ${CONNECTIONS}; }
http {
  access_log off;
  server_tokens off;
  client_max_body_size 0;
  keepalive_requests 10000000;
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi; uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
${http}
}
`;

/** Idle connections to the backend that nginx keeps, one for each request that may be open: with fewer it spends its time on new ones. */
const KEEPALIVE = Number(process.env['NGINX_KEEPALIVE'] || 1024);

const server = (listen: string, name: string): string => `
  server {
    listen ${listen};
    server_name ${name};
    location / {
      proxy_pass http://backend;
      proxy_http_version 2;
      proxy_request_buffering off;
      proxy_buffer_size 16k;
      proxy_buffers 16 64k;
      proxy_busy_buffers_size 128k;
      proxy_max_temp_file_size 0;
    }
  }`;

/** As it is fast: HTTP/2 to the backend on connections that are kept, no temporary files, GSO, buffers that hold an answer, and a burst of newcomers. */
export const nginxConfig = (s: Setting, dir: string, port: number, ask: Ask): string =>
  nginxFrame(
    dir,
    `
  http3 on;
  quic_gso on;
  ssl_certificate ${s.cert};
  ssl_certificate_key ${s.key};
  keepalive_timeout 300s;
  server_names_hash_max_size 65536;
  server_names_hash_bucket_size 128;
  upstream backend { server ${ask.backend}; keepalive ${KEEPALIVE}; keepalive_requests 10000000; }
  ${server(`127.0.0.1:${port} quic reuseport rcvbuf=4m`, HOST)}
  ${Array.from({ length: ask.routes }, (_, i) => server(`127.0.0.1:${port} quic`, routeHost(i, HOST))).join('')}`,
  );

export async function startNginx(s: Setting, name: string, cpu: number, config: (dir: string) => string): Promise<Program> {
  const dir = join(s.dir, name);
  mkdirSync(dir);
  writeFileSync(join(dir, 'nginx.conf'), config(dir));
  return new Program(join(TOOLS, 'sid'), ['run', 'nginx', '-p', dir, '-c', join(dir, 'nginx.conf')], { cpu });
}

const isNginx = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8') === 'nginx\n';
  } catch {
    return false;
  }
};

/** Its worker: the child of the master. The script that becomes nginx has children before, which come and go. */
async function workerOf(program: Program): Promise<number> {
  for (let i = 0; i < 600; i++) {
    const worker = childrenOf(program.pid).find(isNginx);
    if (isNginx(program.pid) && worker !== undefined) return worker;
    await wait(50);
  }
  throw new Error(`nginx has no worker\n${program.lines.join('\n')}`);
}

export const nginxVersion = (printed: string): string => /nginx\/([\d.]+)/.exec(printed)?.[1] ?? 'unknown';

export async function startNginxProxy(s: Setting, ask: Ask): Promise<Subject> {
  const port = await freeUdpPort();
  const program = await startNginx(s, ask.folder, CPU.proxy, (dir) => nginxConfig(s, dir, port, ask));
  await udpBound(program, port);
  return {
    name: 'nginx',
    version: nginxVersion(versionOf('nginx', '-v')),
    port,
    root: program.pid,
    workers: [await workerOf(program)],
    stop: () => program.stop(),
  };
}
