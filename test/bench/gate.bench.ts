/** What a datagram costs before it is anybody's: the gate, ids, tokens, the ClientHello. */
import { randomBytes } from 'node:crypto';
import type { RemoteInfo, Socket } from 'node:dgram';
import { addressFrom } from '../../src/edge/quic/address.ts';
import { CidCodec } from '../../src/edge/quic/cid.ts';
import type { Address, RetryMode } from '../../src/edge/quic/engine.ts';
import { Admission } from '../../src/edge/quic/matrixai/admission.ts';
import type { Conn } from '../../src/edge/quic/matrixai/conn.ts';
import { Counters } from '../../src/edge/quic/matrixai/counters.ts';
import { Gate } from '../../src/edge/quic/matrixai/gate.ts';
import { CryptoStream, parseClientHello, takeCrypto } from '../../src/edge/quic/matrixai/hello.ts';
import { IdTable } from '../../src/edge/quic/matrixai/idtable.ts';
import { clientInitialKeys, openInitial } from '../../src/edge/quic/matrixai/initial.ts';
import { LongHeader, parseInvariant, parseVersion1 } from '../../src/edge/quic/matrixai/packet.ts';
import { UdpSocket } from '../../src/edge/quic/matrixai/socket.ts';
import { TlsContexts } from '../../src/edge/quic/matrixai/tls.ts';
import { openToken, sealToken } from '../../src/edge/quic/matrixai/token.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { listenOptions, Recorder } from '../edge/quic/kit.ts';
import { clientHello, cryptoFrame, initial, longHeader, shortHeader } from '../edge/quic/wire.ts';

export interface BenchCase {
  readonly name: string;
  run(n: number): void;
}

const from: RemoteInfo = { address: '127.0.0.1', family: 'IPv4', port: 40_000, size: 0 };
const remote = addressFrom(from.address, from.port) as Address;
const socket = new UdpSocket(
  { address: () => ({ address: '127.0.0.1', family: 'IPv4', port: 443 }), send: () => {}, getSendQueueCount: () => 0 } as unknown as Socket,
  0,
);

interface Stand {
  readonly gate: Gate;
  readonly admission: Admission;
  readonly codec: CidCodec;
  readonly ids: IdTable;
}

function stand(mode: RetryMode): Stand {
  const o = listenOptions({ limits: { handshakesPerSecond: 1e9 } });
  const codec = new CidCodec(o.cid.key, o.cid.nodeId, o.cid.workerId);
  const counters = new Counters();
  const ids = new IdTable();
  const tls = new TlsContexts(o.tls, { limits: o.limits, congestion: 'cubic' }, null);
  const port = { find: () => null, accept: () => true, live: 0, handshaking: 0 };
  const admission = new Admission({ limits: o.limits, mode, tokenKeys: o.tokenKeys, tls, clock: systemClock, codec, counters }, port);
  const gate = new Gate({
    clock: systemClock,
    codec,
    counters,
    ids,
    handler: new Recorder(),
    admission,
    report: () => {},
    resetKey: o.resetKey,
  });
  return { gate, admission, codec, ids };
}

const hello = clientHello();
const good = initial(cryptoFrame(0, hello));
const forged = Buffer.from(good);
forged[1100] = (forged[1100] as number) ^ 1;

function offered(name: string, msg: Buffer): BenchCase {
  const { gate } = stand('off');
  return {
    name,
    run(n) {
      for (let i = 0; i < n; i++) gate.receive(socket, msg, from, false);
    },
  };
}

function admitted(name: string, msg: Buffer, mode: RetryMode): BenchCase {
  const { gate, admission } = stand(mode);
  return {
    name,
    run(n) {
      for (let i = 0; i < n; i++) {
        gate.receive(socket, msg, from, false);
        admission.run();
      }
    },
  };
}

function known(): BenchCase {
  const { gate, codec, ids } = stand('off');
  let got = 0;
  const conn = { host: from.address, port: from.port, socket, recv: () => got++ } as unknown as Conn;
  const packets = Array.from({ length: 64 }, (_, i) => {
    const id = codec.encode(i, 1, 0);
    ids.add(id, conn);
    return shortHeader(60, id);
  });
  return {
    name: 'gate: packet of a connection (64 of them)',
    run(n) {
      for (let i = 0; i < n; i++) gate.receive(socket, packets[i & 63] as Buffer, from, false);
    },
  };
}

const codec = new CidCodec(randomBytes(16), 1, 2);
const id = codec.encode(1, 2, 3);
const tokenKeys = [randomBytes(32), randomBytes(32)];
const token = sealToken(tokenKeys, remote, id, randomBytes(18), Date.now());

export const cases: readonly BenchCase[] = [
  known(),
  offered('gate: Initial below 1200 bytes', good.subarray(0, 1199)),
  offered('gate: unknown version, small', longHeader(0xc0, 0xff00001d, randomBytes(8), randomBytes(8), randomBytes(100))),
  offered(
    'gate: Handshake for nobody',
    longHeader(0xe0, 1, randomBytes(8), randomBytes(8), Buffer.concat([Buffer.from([0x40, 0x20]), randomBytes(32)])),
  ),
  offered('gate: short header for nobody, resets spent', shortHeader(60)),
  admitted('gate: forged Initial', forged, 'off'),
  admitted('gate: Initial in a flood, Retry mostly spent', good, 'always'),
  admitted('gate: Initial up to the chosen certificate', good, 'off'),
  {
    name: 'cid: encode',
    run(n) {
      for (let i = 0; i < n; i++) codec.encode(i & 0xffff, 7, 0);
    },
  },
  {
    name: 'cid: decode',
    run(n) {
      for (let i = 0; i < n; i++) codec.decode(id, 0);
    },
  },
  {
    name: 'token: seal',
    run(n) {
      for (let i = 0; i < n; i++) sealToken(tokenKeys, remote, id, id, 1);
    },
  },
  {
    name: 'token: open',
    run(n) {
      for (let i = 0; i < n; i++) openToken(tokenKeys, token, remote, id, Date.now());
    },
  },
  {
    name: 'initial: keys, open, CRYPTO, ClientHello',
    run(n) {
      const h = new LongHeader();
      for (let i = 0; i < n; i++) {
        parseInvariant(good, 0, h);
        parseVersion1(good, 0, h);
        const payload = openInitial(good, 0, h, clientInitialKeys(good.subarray(h.dcidAt, h.dcidAt + h.dcidLength)));
        const crypto = new CryptoStream();
        if (payload === null || !takeCrypto(payload, crypto) || parseClientHello(crypto.contiguous()).kind !== 'ok')
          throw new Error('no hello');
      }
    },
  },
];
