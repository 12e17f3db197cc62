/** The backend of everyone: nginx over cleartext HTTP/2. */
import { connect } from 'node:net';
import { nginxFrame, startNginx } from './peers/nginx.ts';
import { freeTcpPort, wait } from './program.ts';
import { PATHS, SMALL_BYTES } from './rows.ts';
import { CPU, type Setting } from './setting.ts';

/** An upload is answered once all of it has come: nginx buffers the body before it asks the server behind the socket. */
const backendConfig = (s: Setting, dir: string, port: number): string =>
  nginxFrame(
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

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

/** Its address, once it answers. */
export async function startBackend(s: Setting): Promise<string> {
  const port = await freeTcpPort();
  const program = await startNginx(s, 'backend', CPU.load, (dir) => backendConfig(s, dir, port));
  for (let i = 0; i < 600; i++) {
    if (await accepts(port)) return `127.0.0.1:${port}`;
    await wait(50);
  }
  throw new Error(`the backend does not answer\n${program.lines.join('\n')}`);
}
