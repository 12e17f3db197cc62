/** What whole processes have around them: a certificate, a demo backend, and the documents of one Listener and one Upstream. Needs `make build`. */
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll } from '@jest/globals';
import { startDemo, type Demo } from '../../src/cli/demo.ts';
import type { ConnectOptions } from '../../src/edge/quic/engine.ts';
import { ROOT } from './peers.ts';
import { temporaryFolder, type Files } from './spooky.ts';
import { makeCertificate, type Issued } from './x509.ts';

/** What differs from test to test: lines of the objects' specs, indented as they stand there. */
export interface Shape {
  /** Of all backends together; the demo's by itself. */
  readonly addresses?: readonly string[];
  readonly listener?: string;
  readonly upstream?: string;
  readonly backend?: string;
  /** Whole documents, each behind its `---`. */
  readonly more?: string;
}

export class Site {
  readonly ca: Issued = makeCertificate({ subject: 'CA of a test', ca: true });
  readonly leaf: Issued = this.issue();
  /** What the documents refer to. */
  readonly files: Files = { 'leaf.pem': this.leaf.chain, 'leaf-key.pem': this.leaf.key };
  private started: Demo | null = null;

  constructor() {
    beforeAll(async () => {
      if (!existsSync(join(ROOT, 'dist', 'main.js'))) throw new Error('dist/main.js is missing: make build');
      this.started = await startDemo('127.0.0.1', 0);
    });
    afterAll(() => this.started?.close());
  }

  get demo(): Demo {
    if (this.started === null) throw new Error('the demo backend is started before the first test');
    return this.started;
  }

  issue(): Issued {
    return makeCertificate({ names: ['DNS:localhost'], issuer: this.ca });
  }

  /** How clients dial a listener of these documents; the handshake may take as long as a busy machine wants. */
  dial(port: number): ConnectOptions {
    const ca = Buffer.from(this.ca.cert);
    return {
      host: '127.0.0.1',
      port,
      local: null,
      sni: 'localhost',
      alpn: ['h3'],
      ca,
      insecure: false,
      handshakeMs: 10_000,
      idleMs: 30_000,
    };
  }

  documents(port: number, s: Shape = {}): string {
    const addresses = s.addresses ?? [`127.0.0.1:${this.demo.port}`];
    const lines = [
      'apiVersion: spooky.dev/v1alpha1',
      'kind: Listener',
      'metadata: {name: public}',
      'spec:',
      '  addresses: ["127.0.0.1"]',
      `  port: ${port}`,
      '  tls: {certificateRefs: [{files: {cert: leaf.pem, key: leaf-key.pem}}]}',
      s.listener,
      '---',
      'apiVersion: spooky.dev/v1alpha1',
      'kind: Upstream',
      'metadata: {name: site}',
      'spec:',
      '  hostnames: ["*"]',
      s.upstream,
      '  backends:',
      `    - addresses: [${addresses.map((a) => `{address: "${a}"}`).join(', ')}]`,
      s.backend,
      s.more,
    ];
    return `${lines.filter((line) => line !== undefined).join('\n')}\n`;
  }

  /** A folder with the documents and what they refer to, for commands that are run by hand. */
  folder(files: Files): string {
    const dir = temporaryFolder();
    for (const [name, content] of Object.entries({ ...this.files, ...files })) writeFileSync(join(dir, name), content);
    return dir;
  }
}

/** A backend whose requests are open until the test says so: no time has to be guessed in which they all are. */
export class Held {
  readonly address: string;
  private readonly server: Http2Server;
  private readonly streams = new Set<ServerHttp2Stream>();

  private constructor(server: Http2Server) {
    this.server = server;
    this.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('stream', (stream: ServerHttp2Stream) => {
      this.streams.add(stream);
      stream.on('error', () => undefined);
      stream.once('close', () => this.streams.delete(stream));
    });
    server.on('sessionError', () => undefined);
  }

  static async start(): Promise<Held> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Held(server);
  }

  /** How many wait. */
  get open(): number {
    return this.streams.size;
  }

  /** Answers them. */
  release(): void {
    for (const stream of this.streams) {
      stream.respond({ ':status': 200 });
      stream.end('held');
    }
  }

  close(): void {
    this.release();
    this.server.close();
  }
}
