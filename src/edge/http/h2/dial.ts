import { X509Certificate } from 'node:crypto';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import {
  checkServerIdentity,
  connect as connectTls,
  createSecureContext,
  getCACertificates,
  setDefaultCACertificates,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import { err, ok, type Result } from '../../../lib/result.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Reason } from '../../../contract/reasons.ts';
import type { BackendFailure } from '../message.ts';
import { Inlet } from './inlet.ts';

/** How backends are spoken to over TLS; made once from its settings by `dialTls`. */
export interface DialTls {
  /** What the certificate must be for; sent as SNI when `sni` and it is no address. */
  readonly serverName: string;
  readonly sni: boolean;
  readonly verify: boolean;
  readonly context: SecureContext;
}

export interface DialTlsSettings {
  readonly serverName: string;
  readonly sni: boolean;
  readonly verify: boolean;
  /** PEM; null: the system's roots. */
  readonly ca: Uint8Array | null;
  readonly clientCertificate: { readonly cert: Uint8Array; readonly key: Uint8Array } | null;
}

/** TLS settings that do not hold together are an error here, once, and never something laxer later. */
export function dialTls(s: DialTlsSettings): Result<DialTls, string> {
  try {
    if (s.ca !== null) requireCertificates(s.ca);
    else trustSystem();
    const context = createSecureContext({
      minVersion: 'TLSv1.2', // RFC 9113 s9.2
      ...(s.ca === null ? {} : { ca: Buffer.from(s.ca) }),
      ...(s.clientCertificate === null ? {} : { cert: Buffer.from(s.clientCertificate.cert), key: Buffer.from(s.clientCertificate.key) }),
    });
    return ok({ serverName: s.serverName, sni: s.sni, verify: s.verify, context });
  } catch (e) {
    return err(e instanceof Error ? e.message : String(e));
  }
}

let trusting = false;

/**
 * The roots of this machine (SSL_CERT_FILE, SSL_CERT_DIR, or OpenSSL's places) and of NODE_EXTRA_CA_CERTS, read once, instead of the list that
 * comes with Node: what the operator trusts, and nobody else. As the default, because contexts share it; a list of their own costs each 40 ms.
 */
function trustSystem(): void {
  if (trusting) return;
  setDefaultCACertificates([...new Set([...getCACertificates('system'), ...getCACertificates('extra')])]);
  trusting = true;
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** OpenSSL passes over what it cannot read: a CA list of nothing would verify nothing, and nobody would know why. */
function requireCertificates(pem: Uint8Array): void {
  const found = Buffer.from(pem).toString('latin1').match(PEM_CERTIFICATE) ?? [];
  if (found.length === 0) throw new Error('no certificate in the CA list');
  for (const one of found) void new X509Certificate(one);
}

export interface DialTarget {
  /** An IP address: names have been resolved before. */
  readonly address: string;
  readonly port: number;
  /** Null: cleartext with prior knowledge (RFC 9113 s3.3). */
  readonly tls: DialTls | null;
}

export interface DialOptions {
  readonly clock: Clock;
  /** For TCP and TLS together. */
  readonly timeoutMs: number;
  /** Addresses that nobody may be sent to, asked before the connection and again about where it ended up. */
  readonly deny: { denies(address: string): boolean } | null;
  onInternalError(where: string, error: unknown): void;
}

/** Exactly one of them is called, unless the dial is cancelled; never before `dial` has returned. */
export interface DialHandler {
  /** Its `inlet` must be given a sink, or the bytes are lost and the socket with them. */
  onConnected(socket: Socket, inlet: Inlet): void;
  onFailure(failure: BackendFailure): void;
}

const ALPN = ['h2'];
const PROBE_MS = 30_000;
const CLOSED = 'closed by the endpoint';

/** Connects; the function that it returns gives up silently. */
export function dial(target: DialTarget, options: DialOptions, handler: DialHandler): () => void {
  const attempt = new Attempt(target, options, handler);
  attempt.start();
  return () => attempt.cancel();
}

class Attempt {
  private readonly target: DialTarget;
  private readonly options: DialOptions;
  private readonly handler: DialHandler;
  private readonly inlet = new Inlet();
  private socket: Socket | null = null;
  private done = false;
  private tcp = false;
  private stopTimer: () => void;

  constructor(target: DialTarget, options: DialOptions, handler: DialHandler) {
    this.target = target;
    this.options = options;
    this.handler = handler;
    this.stopTimer = options.clock.after(options.timeoutMs, () => {
      this.fail('connect_timeout', this.tcp ? 'no TLS handshake in time' : 'no TCP connection in time');
    });
  }

  start(): void {
    const { address, port, tls } = this.target;
    if (isIP(address) === 0 || this.options.deny?.denies(address) === true) {
      // As a failure of the connection, later: the caller has not seen `dial` return.
      queueMicrotask(() => this.fail('connect_refused', 'an address that may not be a backend'));
      return;
    }
    try {
      const base = { host: address, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: PROBE_MS, onread: this.inlet.onread };
      const socket = tls === null ? connectTcp(base) : connectTls({ ...base, ...tlsOptions(tls) });
      this.socket = socket;
      this.inlet.socket = socket;
      socket.on('connect', () => this.guard(() => this.onTcp()));
      if (tls !== null) socket.on('secureConnect', () => this.guard(() => this.onTls(socket as TLSSocket)));
      socket.on('error', (e: NodeJS.ErrnoException) => this.guard(() => this.onError(e)));
      socket.on('close', () => this.guard(() => this.onClose()));
    } catch (e) {
      const detail = e instanceof Error ? e.message : String(e);
      queueMicrotask(() => this.fail(tls === null ? 'connect_refused' : 'tls_failed', detail));
    }
  }

  cancel(): void {
    if (this.done) return;
    this.settle();
    this.socket?.destroy();
  }

  private onTcp(): void {
    if (this.done) return;
    this.tcp = true;
    const { deny } = this.options;
    const reached = this.socket?.remoteAddress;
    // What was reset in this moment is connected to nobody: there is nothing to ask about, and nothing to go on with.
    if (deny !== null && reached === undefined) return this.fail(this.lost, CLOSED);
    if (deny !== null && reached !== undefined && deny.denies(reached)) {
      return this.fail('connect_refused', 'an address that may not be a backend');
    }
    if (this.target.tls === null) this.succeed();
  }

  private onTls(socket: TLSSocket): void {
    if (this.done) return;
    if (socket.alpnProtocol === 'h2') return this.succeed();
    this.fail('tls_failed', `ALPN gave ${socket.alpnProtocol === false ? 'nothing' : JSON.stringify(socket.alpnProtocol)} instead of h2`);
  }

  private onError(e: NodeJS.ErrnoException): void {
    if (this.done) return;
    const code = e.code ?? '';
    if (code === 'ETIMEDOUT') this.fail('connect_timeout', e.message);
    else if (!this.tcp) this.fail('connect_refused', e.message);
    else this.fail('tls_failed', tlsDetail(code, e.message));
  }

  private onClose(): void {
    if (!this.done) this.fail(this.tcp ? this.lost : 'connect_refused', CLOSED);
  }

  /** After TCP. */
  private get lost(): Reason {
    return this.target.tls === null ? 'backend_closed' : 'tls_failed';
  }

  private succeed(): void {
    const { socket } = this;
    if (socket === null) return;
    this.settle();
    socket.removeAllListeners('connect');
    socket.removeAllListeners('secureConnect');
    socket.removeAllListeners('close');
    this.handler.onConnected(socket, this.inlet);
  }

  private fail(reason: Reason, detail: string): void {
    if (this.done) return;
    this.settle();
    this.socket?.destroy();
    const { address, port } = this.target;
    try {
      this.handler.onFailure({ reason, unseen: false, detail: `${address}:${port}: ${detail}` });
    } catch (e) {
      this.options.onInternalError('h2_dial', e);
    }
  }

  private settle(): void {
    this.done = true;
    this.stopTimer();
  }

  private guard(fn: () => void): void {
    try {
      fn();
    } catch (e) {
      this.options.onInternalError('h2_dial', e);
      this.socket?.destroy();
    }
  }
}

function tlsOptions(tls: DialTls) {
  const name = tls.sni && isIP(tls.serverName) === 0 ? tls.serverName : '';
  return {
    secureContext: tls.context,
    ALPNProtocols: ALPN,
    servername: name,
    rejectUnauthorized: tls.verify,
    // The name that is asked for, whether it is sent or not.
    checkServerIdentity: (_host: string, cert: Parameters<typeof checkServerIdentity>[1]) => checkServerIdentity(tls.serverName, cert),
  };
}

/** What OpenSSL says when the other side does not begin with a TLS record. */
function tlsDetail(code: string, message: string): string {
  const cleartext = code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG' || code === 'ERR_SSL_HTTP_REQUEST';
  return cleartext
    ? `${message} (the endpoint answers in cleartext: protocol H2C, or h2c:// and verify_certificates in a classic config.yaml)`
    : message;
}
