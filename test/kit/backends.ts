/** Backends that others wrote: Go's net/http, grpc-go, nginx. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE, TOOLS } from './peers.ts';
import { Child, eventually, freeTcpPort, parseLine } from './process.ts';
import { temporaryFolder } from './spooky.ts';

export interface Backend {
  readonly child: Child;
  readonly address: string;
}

async function startGo(program: string, args: readonly string[]): Promise<Backend & { ready: Record<string, unknown> }> {
  const child = new Child(join(CACHE, 'bin', program), args);
  const ready = await child.waitFor('stdout', (line) => parseLine(line));
  return { child, address: String(ready['listening']), ready };
}

export interface BackendStats {
  readonly requests: number;
  readonly active: number;
  /** Requests whose end came from the other side. */
  readonly cancelled: number;
  /** Bytes that /endless could write. */
  readonly endless: number;
}

export class GoBackend implements Backend {
  readonly child: Child;
  readonly address: string;
  /** Where the same handler is served over HTTP/3, without a proxy between. */
  readonly h3: string;

  constructor(child: Child, address: string, h3: string) {
    this.child = child;
    this.address = address;
    this.h3 = h3;
  }

  async stats(): Promise<BackendStats> {
    return (await (await fetch(`http://${this.address}/stats`)).json()) as BackendStats;
  }
}

export async function startGoBackend(name: string, h3?: { cert: string; key: string }): Promise<GoBackend> {
  const args = ['--name', name];
  if (h3 !== undefined) args.push('--h3', '127.0.0.1:0', '--cert', h3.cert, '--key', h3.key);
  const { child, address, ready } = await startGo('h2c-server', args);
  return new GoBackend(child, address, String(ready['h3'] ?? ''));
}

export const startGrpcServer = (): Promise<Backend> => startGo('grpc-server', []);

const NGINX = (dir: string, port: number, requests: number): string => `
daemon off;
user root;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log stderr notice;
events { worker_connections 1024; }
http {
  access_log off;
  client_max_body_size 0;
  keepalive_requests ${requests};
  client_body_temp_path ${dir}/body;
  proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fastcgi; uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
  server {
    listen 127.0.0.1:${port};
    http2 on;
    location = / { return 200 "nginx over $server_protocol\\n"; }
    location = /upload { return 200 "taken\\n"; }
    location = /trailers { add_trailer x-checksum abc123; alias ${dir}/files/hello; }
    location /files/ { alias ${dir}/files/; }
  }
}
`;

/** nginx of the Debian sid folder, speaking HTTP/2 without TLS. `requests`: after so many on one connection it sends GOAWAY. */
export async function startNginx(files: Readonly<Record<string, Buffer | string>>, requests = 1_000_000): Promise<Backend> {
  const dir = temporaryFolder('spooky-nginx');
  const port = await freeTcpPort();
  mkdirSync(join(dir, 'files'));
  for (const [name, content] of Object.entries({ hello: 'hello\n', ...files })) writeFileSync(join(dir, 'files', name), content);
  writeFileSync(join(dir, 'nginx.conf'), NGINX(dir, port, requests));
  const child = new Child(join(TOOLS, 'sid'), ['run', 'nginx', '-p', dir, '-c', join(dir, 'nginx.conf')]);
  await eventually(async () => (await fetch(`http://127.0.0.1:${port}/`)).text());
  return { child, address: `127.0.0.1:${port}` };
}
