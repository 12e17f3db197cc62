/** A backend that takes its time and few streams at once: `node slow.ts MILLISECONDS STREAMS`; says its port. */
import { createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';

const [ms = 100, streams = 8] = process.argv.slice(2).map(Number);
const server = createServer({ settings: { maxConcurrentStreams: streams } });
server.on('stream', (stream: ServerHttp2Stream) => {
  stream.on('error', () => undefined);
  setTimeout(() => {
    if (stream.destroyed) return;
    stream.respond({ ':status': 200, 'content-type': 'text/plain' });
    stream.end('late\n');
  }, ms);
});
server.on('sessionError', () => undefined);
server.listen(0, '127.0.0.1', () => process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`));
