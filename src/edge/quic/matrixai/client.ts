import { randomFillSync, X509Certificate } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { rootCertificates } from 'node:tls';
import type { Clock } from '../../../lib/clock.ts';
import { inspectBundle } from '../../../contract/tls.ts';
import { addressFrom, hostOf } from '../address.ts';
import { CID_LENGTH } from '../cid.ts';
import { CRYPTO_BAD_CERTIFICATE } from '../codes.ts';
import type { Address, CloseReason, ConnectOptions, Limits, QuicConn, QuicHandler, TlsId } from '../engine.ts';
import { handshakeError } from '../failure.ts';
import { serverName } from '../options.ts';
import { quiche, type Config } from './binding.ts';
import { Conn, type ConnOwner } from './conn.ts';
import type { Report } from '../report.ts';
import { bindSocket, type UdpSocket } from './socket.ts';
import { applyTransport } from './tls.ts';
import { Turn } from './turn.ts';

const STREAM_WINDOW = 2 * 1024 * 1024;
/** A stream window: what a server may send at once. */
const CLIENT_BUFFER = STREAM_WINDOW;
/** Keys of client connections: beyond all that slots and generations can give. */
const FIRST_KEY = 2 ** 48;
let nextKey = FIRST_KEY;
let roots: Buffer | null = null;

/** A client connection on a socket of its own. */
export async function connect(o: ConnectOptions, h: QuicHandler, clock: Clock, report: Report): Promise<QuicConn> {
  const remote = addressFrom(o.host, o.port);
  if (remote === null) throw new RangeError(`host: ${JSON.stringify(o.host)} is no IP address`);
  const config = clientConfig(o);
  const host = o.local ?? (isIPv6(o.host) ? '::' : '0.0.0.0');
  const socket = await bindSocket({ host, port: 0, reusePort: false, receiveBuffer: CLIENT_BUFFER, sendBuffer: 0 });
  return new Promise((done, fail) => {
    try {
      new Client(o, remote, config, socket, new Turn(h, clock, report), done, fail).open();
    } catch (e) {
      fail(e as Error);
      socket.close().catch((again: unknown) => report('quic_socket', again));
    }
  });
}

function clientConfig(o: ConnectOptions): Config {
  if (o.alpn.length === 0) throw new RangeError('alpn: at least one protocol wanted');
  const c = quiche.Config.withBoringSslCtx(!o.insecure, false, o.insecure ? null : authorities(o), null, null);
  c.setApplicationProtos([...o.alpn]);
  const limits: Limits = {
    connections: 1,
    halfOpen: 1,
    handshakesPerSecond: 1,
    retryAbove: 1,
    perAddress: 1,
    handshakeMs: o.handshakeMs,
    idleMs: o.idleMs,
    bidi: 0,
    uni: 16,
    streamWindow: STREAM_WINDOW,
    connWindow: STREAM_WINDOW,
    datagrams: true,
  };
  applyTransport(c, { limits, congestion: 'cubic' });
  // Whole from the start: we know that we read what we ask for.
  c.setInitialMaxStreamDataBidiLocal(STREAM_WINDOW);
  return c;
}

function authorities(o: ConnectOptions): Buffer {
  if (o.ca === null) return (roots ??= Buffer.from(rootCertificates.join('\n')));
  const bundle = inspectBundle(o.ca);
  if (!bundle.ok) throw new RangeError(`ca: ${bundle.error}`);
  return Buffer.from(bundle.value);
}

class Client implements ConnOwner {
  private readonly options: ConnectOptions;
  private readonly conn: Conn;
  private readonly socket: UdpSocket;
  private readonly turn: Turn;
  private readonly done: (c: QuicConn) => void;
  private readonly fail: (e: Error) => void;

  constructor(
    o: ConnectOptions,
    remote: Address,
    config: Config,
    socket: UdpSocket,
    turn: Turn,
    done: (c: QuicConn) => void,
    fail: (e: Error) => void,
  ) {
    this.options = o;
    this.socket = socket;
    this.turn = turn;
    this.done = done;
    this.fail = fail;
    const scid = randomFillSync(Buffer.alloc(CID_LENGTH));
    const q = quiche.Connection.connect(
      serverName(o.sni),
      scid,
      { host: hostOf(socket.local), port: socket.port },
      { host: hostOf(remote), port: o.port },
      config,
    );
    this.conn = new Conn(
      {
        key: nextKey++,
        server: false,
        q,
        socket,
        host: o.host,
        port: o.port,
        remote,
        tls: 0 as TlsId,
        needsCertificate: false,
        sni: serverName(o.sni),
        handshakeMs: o.handshakeMs,
        streamWindow: STREAM_WINDOW,
        connWindow: STREAM_WINDOW,
        datagrams: true,
      },
      turn,
      this,
    );
  }

  open(): void {
    this.socket.listen(
      (_s, msg, from) => {
        if (from.port !== this.options.port || msg.length === 0) return;
        this.turn.arrived();
        this.conn.recv(msg);
      },
      (e) => this.turn.handler.onFault(e),
    );
    this.turn.want(this.conn);
  }

  established(c: Conn): boolean {
    if (!this.nameVerified(c)) {
      c.close(false, CRYPTO_BAD_CERTIFICATE, 'the certificate does not name the address');
      return false;
    }
    // Behind onConnection, which follows in this turn.
    queueMicrotask(() => this.done(c));
    return true;
  }

  private nameVerified(c: Conn): boolean {
    if (this.options.insecure || serverName(this.options.sni) !== null) return true;
    const leaf = c.q?.peerCertChain()?.[0];
    const address = this.options.sni ?? this.options.host;
    return leaf !== undefined && new X509Certificate(leaf).checkIP(address) !== undefined;
  }

  failed(_c: Conn, why: CloseReason): void {
    this.leave();
    this.fail(handshakeError(why));
  }

  ended(): void {
    this.leave();
  }

  /** A client keeps no closing state: once its last packet is out, the socket goes. */
  private leave(): void {
    setImmediate(() => this.conn.dispose());
  }

  gone(): void {
    this.turn.stop();
    setImmediate(() => {
      this.socket.close().catch((e: unknown) => this.turn.report('quic_socket', e));
    });
  }
}
