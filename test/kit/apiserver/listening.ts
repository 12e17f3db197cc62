/** The HTTPS end of the fake: a certificate of an authority of its own, and connections that can be torn off. */
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { makeAuthority, makeCertificate, type Issued } from '../x509.ts';

export type OnRequest = (request: IncomingMessage, response: ServerResponse) => void;

export class Listening {
  #authority: Issued;
  #server: Server | null = null;
  #sockets = new Set<Socket>();
  #port = 0;
  #generation = 0;
  readonly #onRequest: OnRequest;

  constructor(onRequest: OnRequest) {
    this.#onRequest = onRequest;
    this.#authority = makeAuthority('fake API server 0');
  }

  get port(): number {
    return this.#port;
  }

  /** PEM. */
  get ca(): string {
    return this.#authority.cert;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** On the port that it had before, if there was one. */
  async start(): Promise<void> {
    const server = createServer({ ...this.#identity(), keepAliveTimeout: 0 }, this.#onRequest);
    server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => undefined);
    });
    server.on('tlsClientError', () => undefined);
    server.on('clientError', (_cause, socket) => socket.destroy());
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.#port, '127.0.0.1', resolve);
    });
    this.#port = (server.address() as AddressInfo).port;
  }

  /** As kill -9 looks from the other end: no more answers, no goodbyes, and nobody at the port. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (server === null) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    this.cutAll();
    await closed;
  }

  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** New connections see a certificate of another authority. */
  rotate(): void {
    this.#authority = makeAuthority(`fake API server ${++this.#generation}`);
    this.#server?.setSecureContext(this.#identity());
  }

  #identity(): { cert: string; key: string } {
    const leaf = makeCertificate({
      subject: 'kube-apiserver',
      names: ['IP:127.0.0.1', 'DNS:localhost', 'DNS:kubernetes.default.svc'],
      issuer: this.#authority,
      usages: ['1.3.6.1.5.5.7.3.1'],
    });
    return { cert: leaf.cert, key: leaf.key };
  }
}
