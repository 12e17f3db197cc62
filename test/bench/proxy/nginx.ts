/** nginx of the Debian sid folder: as the backend of everyone, and as a proxy to compare with. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freeTcpPort, freeUdpPort, Program, wait } from './program.ts';
import { PATHS, SMALL_BYTES } from './rows.ts';
import { CPU, TOOLS, type Setting, type Subject } from './setting.ts';
import { childrenOf } from './stat.ts';

const frame = (dir: string, http: string): string => `
daemon off;
user root;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log stderr warn;
events { worker_connections 16384; }
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

/** An upload is answered once all of it has come: nginx buffers the body before it asks the server behind the socket. */
const backendConfig = (s: Setting, dir: string, port: number): string =>
  frame(
    dir,
    `
  client_body_buffer_size 2m;
  http2_body_preread_size 1m;
  default_type application/octet-stream;
  server {
    listen 127.0.0.1:${port};
    http2 on;
    location = ${PATHS.small} { return 200 "${'x'.repeat(SMALL_BYTES)}"; }
    location = ${PATHS.large} { alias ${s.dir}/files/large; }
    location = ${PATHS.upload} { proxy_pass http://unix:${dir}/taken.sock; proxy_method GET; proxy_pass_request_body off; proxy_set_header content-length ""; }
  }
  server {
    listen unix:${dir}/taken.sock;
    location / { return 200 "${'x'.repeat(SMALL_BYTES)}"; }
  }`,
  );

/** Idle connections to the backend that nginx keeps, one for each request that may be open: with fewer it spends its time on new ones. */
const KEEPALIVE = Number(process.env['NGINX_KEEPALIVE'] || 1024);

/** As it is fast: HTTP/2 to the backend on connections that are kept, no temporary files, GSO, buffers that hold an answer, and a burst of newcomers. */
const proxyConfig = (s: Setting, dir: string, port: number, backend: string): string =>
  frame(
    dir,
    `
  http3 on;
  quic_gso on;
  ssl_certificate ${s.cert};
  ssl_certificate_key ${s.key};
  keepalive_timeout 300s;
  upstream backend { server ${backend}; keepalive ${KEEPALIVE}; keepalive_requests 10000000; }
  server {
    listen 127.0.0.1:${port} quic reuseport rcvbuf=4m;
    location / {
      proxy_pass http://backend;
      proxy_http_version 2;
      proxy_request_buffering off;
      proxy_buffer_size 16k;
      proxy_buffers 16 64k;
      proxy_busy_buffers_size 128k;
      proxy_max_temp_file_size 0;
    }
  }`,
  );

async function startNginx(s: Setting, name: string, cpu: number, config: (dir: string) => string): Promise<Program> {
  const dir = join(s.dir, name);
  mkdirSync(dir);
  writeFileSync(join(dir, 'nginx.conf'), config(dir));
  return new Program(join(TOOLS, 'sid'), ['run', 'nginx', '-p', dir, '-c', join(dir, 'nginx.conf')], { cpu });
}

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

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

export interface NginxBackend {
  readonly address: string;
  stop(): Promise<void>;
}

export async function startBackend(s: Setting): Promise<NginxBackend> {
  const port = await freeTcpPort();
  const program = await startNginx(s, 'backend', CPU.load, (dir) => backendConfig(s, dir, port));
  for (let i = 0; i < 600; i++) {
    if (await accepts(port)) return { address: `127.0.0.1:${port}`, stop: () => program.stop() };
    await wait(50);
  }
  throw new Error(`the backend does not answer\n${program.lines.join('\n')}`);
}

export async function startNginxProxy(s: Setting, name: string, version: string, backend: string): Promise<Subject> {
  const port = await freeUdpPort();
  const program = await startNginx(s, name, CPU.proxy, (dir) => proxyConfig(s, dir, port, backend));
  return { name: 'nginx', version, port, workers: [await workerOf(program)], main: null, stop: () => program.stop() };
}

export const nginxVersion = (printed: string): string => /nginx\/([\d.]+)/.exec(printed)?.[1] ?? 'unknown';
