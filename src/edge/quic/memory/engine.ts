import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { addressFrom } from '../address.ts';
import { CRYPTO_BAD_CERTIFICATE, CRYPTO_UNKNOWN_CA } from '../codes.ts';
import type {
  Address,
  ConnectOptions,
  EngineCaps,
  Limits,
  ListenOptions,
  QuicConn,
  QuicEndpoint,
  QuicEngine,
  QuicHandler,
  TlsEntry,
  TlsPair,
} from '../engine.ts';
import { HandshakeError } from '../failure.ts';
import { MemoryConn } from './conn.ts';
import { MemoryEndpoint, place, trusts, type Admitted } from './endpoint.ts';
import { MemoryNetwork } from './network.ts';
import { MemoryTurn, type Report } from './turn.ts';

export interface MemoryOptions {
  readonly network?: MemoryNetwork;
  readonly onInternalError?: Report;
}

const FIRST_KEY = 2 ** 48;
let nextKey = FIRST_KEY;

/** An engine without sockets, for tests: `listen` and `connect` meet in a MemoryNetwork. */
export class MemoryEngine implements QuicEngine {
  readonly name = 'memory';
  readonly version = '1';
  readonly caps: EngineCaps = {
    migration: false,
    gso: false,
    pmtud: false,
    newToken: false,
    datagram: true,
    threads: false,
    pq: false,
    handover: false,
  };
  readonly network: MemoryNetwork;
  private readonly report: Report;

  constructor(o: MemoryOptions = {}) {
    this.network = o.network ?? new MemoryNetwork();
    this.report = o.onInternalError ?? (() => {});
  }

  /** Nobody looks into certificates here. */
  unfit(_given: TlsPair): string | null {
    return null;
  }

  async listen(o: ListenOptions, h: QuicHandler): Promise<MemoryEndpoint & QuicEndpoint> {
    await Promise.resolve();
    return new MemoryEndpoint(o, h, this.network, this.report);
  }

  connect(o: ConnectOptions, h: QuicHandler): Promise<QuicConn> {
    const net = this.network;
    const remote = addressFrom(o.host, o.port);
    const local = addressFrom(o.local ?? '127.0.0.1', net.takePort());
    if (remote === null || local === null) return Promise.reject(new RangeError(`host: ${JSON.stringify(o.host)} is no IP address`));
    return new Promise((done, fail) => {
      const timeout = (): void => fail(new HandshakeError('timeout', false, 0, 'no handshake in time'));
      const cancel = net.clock.after(o.handshakeMs, timeout);
      net.carry(false, () => {
        const endpoint = net.endpoints.get(place(o.host, o.port));
        // Nobody there answers: the timer will tell.
        if (endpoint === undefined) return;
        const limits = clientLimits(o);
        const admitted = endpoint.admit(o, local, limits, (e) => untrusted(o, e));
        const turn = new MemoryTurn(h, net, this.report);
        const ended = (): void => {
          cancel();
          answer(o, admitted, local, remote, limits, turn, done, fail);
        };
        net.carry(false, admitted.kind === 'ok' && admitted.retried ? () => net.carry(false, ended) : ended);
      });
    });
  }
}

function answer(
  o: ConnectOptions,
  a: Admitted,
  local: Address,
  remote: Address,
  limits: Limits,
  turn: MemoryTurn,
  done: (c: QuicConn) => void,
  fail: (e: Error) => void,
): void {
  if (a.kind === 'refused') {
    fail(new HandshakeError(a.side, false, a.code, `handshake failed (${a.side}, code 0x${a.code.toString(16)})`));
    return;
  }
  const client = new MemoryConn(
    {
      key: nextKey++,
      server: false,
      remote,
      local,
      info: { sni: o.sni, alpn: a.alpn, tls: a.entry.id, resumed: false, peerChain: peerChain(a.entry), handshakeMs: 0 },
      mine: limits,
      theirs: a.server.mine,
      idleMs: Math.min(o.idleMs, a.server.mine.idleMs),
      onEnd: () => {},
    },
    turn,
  );
  client.pair(a.server);
  a.server.pair(client);
  client.announce(() => done(client));
}

function untrusted(o: ConnectOptions, e: TlsEntry): number {
  if (o.insecure) return 0;
  if (o.ca === null) return CRYPTO_UNKNOWN_CA;
  const name = o.sni ?? o.host;
  return trusts(e, o.ca, name, isIP(name) !== 0) ? 0 : CRYPTO_BAD_CERTIFICATE;
}

function peerChain(e: TlsEntry): readonly Uint8Array[] | null {
  try {
    return [new X509Certificate(Buffer.from(e.certs[0]?.cert ?? '')).raw];
  } catch {
    return null;
  }
}

function clientLimits(o: ConnectOptions): Limits {
  return {
    connections: 1,
    halfOpen: 1,
    handshakesPerSecond: 1,
    retryAbove: 1,
    perAddress: 1,
    handshakeMs: o.handshakeMs,
    idleMs: o.idleMs,
    bidi: 0,
    uni: 16,
    streamWindow: 1024 * 1024,
    connWindow: 4 * 1024 * 1024,
    datagrams: true,
  };
}
