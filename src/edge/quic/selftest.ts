import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { CloseReason, ListenOptions, QuicConn, QuicEngine, QuicHandler, TlsId } from './engine.ts';

/**
 * How long an answer may take, in turns of the event loop: a process that was stopped, or had no CPU, has not seen what came meanwhile, and its
 * engine is none that does not work.
 */
const [TICK_MS, TICKS] = [50, 40] as const;
const LIMIT_MS = TICK_MS * TICKS;
/** The engine's own limits are by the clock. */
const ENGINE_MS = 15_000;
const LOOPBACKS = ['127.0.0.1', '::1'] as const;
const ALPN = 'self-test';
const NAME = 'self-test';
const TLS_ID = 0 as TlsId;
const MESSAGE = Buffer.from('does this engine work here?');

/** A handshake and an echo between two endpoints of this process: rejects when that does not work here, or not in time. */
export async function selfTest(engine: QuicEngine): Promise<void> {
  const [first, second] = LOOPBACKS;
  try {
    await echo(engine, first);
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException;
    if (code !== 'EADDRNOTAVAIL' && code !== 'EAFNOSUPPORT') throw e;
    await echo(engine, second);
  }
}

async function echo(engine: QuicEngine, host: string): Promise<void> {
  const server = new Side(true);
  const endpoint = await engine.listen(listenOptions(host), server);
  const client = new Side(false);
  try {
    const port = endpoint.addresses[0]?.port ?? 0;
    const answer = await inTime(ask(engine, host, port, client));
    if (!answer.equals(MESSAGE)) throw new Error('other bytes came back than were sent');
  } finally {
    await endpoint.close();
  }
}

async function ask(engine: QuicEngine, host: string, port: number, client: Side): Promise<Buffer> {
  const times = { handshakeMs: ENGINE_MS, idleMs: ENGINE_MS };
  const c = await engine.connect({ host, port, local: null, sni: NAME, alpn: [ALPN], ca: null, insecure: true, ...times }, client);
  c.write(0, MESSAGE, 0, MESSAGE.length, true);
  const answer = await client.answer();
  c.close(true, 0, '');
  return answer;
}

/** An interval that is late for several ticks comes once, and what has arrived is heard before the next one. */
function inTime(answer: Promise<Buffer>): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let left: number = TICKS;
    const timer = setInterval(() => {
      if (--left > 0) return;
      clearInterval(timer);
      reject(new Error(`no answer within ${LIMIT_MS} ms`));
    }, TICK_MS);
    answer.then(resolve, reject).finally(() => clearInterval(timer));
  });
}

/** One side: what it hears, and sends back when it is the one that was called. */
class Side implements QuicHandler {
  private readonly echoes: boolean;
  private readonly chunks: Buffer[] = [];
  private readonly heard: Promise<Buffer | Error>;
  private hear: (outcome: Buffer | Error) => void = () => {};

  constructor(echoes: boolean) {
    this.echoes = echoes;
    this.heard = new Promise((done) => (this.hear = done));
  }

  async answer(): Promise<Buffer> {
    const outcome = await this.heard;
    if (outcome instanceof Error) throw outcome;
    return outcome;
  }

  onData(c: QuicConn, id: number, buf: Uint8Array, start: number, end: number, fin: boolean): void {
    this.chunks.push(Buffer.from(buf.subarray(start, end)));
    if (this.echoes) c.write(id, buf, start, end, fin);
    if (fin) this.hear(Buffer.concat(this.chunks));
  }

  onClose(_c: QuicConn, why: CloseReason): void {
    this.hear(new Error(`the connection ended (${why.side}, code ${why.code})`));
  }

  onFault(e: Error): void {
    this.hear(e);
  }

  onConnection(): void {}
  onReset(): void {}
  onStop(): void {}
  onWritable(): void {}
  onDatagram(): void {}
  onPath(): void {}
  onTurnEnd(): void {}
  onForeign(): void {}
}

function listenOptions(host: string): ListenOptions {
  return {
    hosts: [host],
    port: 0,
    reusePort: false,
    cid: { nodeId: 0, workerId: 0, key: randomBytes(16) },
    resetKey: randomBytes(32),
    tokenKeys: [randomBytes(32)],
    retry: 'off',
    limits: {
      connections: 1,
      halfOpen: 1,
      handshakesPerSecond: 100,
      retryAbove: 1,
      perAddress: 1,
      handshakeMs: ENGINE_MS,
      idleMs: ENGINE_MS,
      bidi: 1,
      uni: 1,
      streamWindow: 65_536,
      connWindow: 65_536,
      datagrams: false,
    },
    tls: {
      entries: [{ id: TLS_ID, certs: [selfSigned()], clientAuth: 'none', alpn: [ALPN], earlyData: false, ticketKeys: [] }],
      names: new Map(),
      fallback: TLS_ID,
    },
    congestion: 'cubic',
    receiveBuffer: 0,
    sendBuffer: 0,
  };
}

/** ecdsa-with-SHA256 (RFC 5758 s3.2). */
const ALGORITHM = Buffer.from('300a06082a8648ce3d040302', 'hex');
/** 2000 to 2049, as UTCTime. */
const VALIDITY = tlv(0x30, tlv(0x17, Buffer.from('000101000000Z')), tlv(0x17, Buffer.from('491231235959Z')));
const COMMON_NAME = Buffer.from('0603550403', 'hex');

/** The smallest certificate that there is: X.509 version 1, which nobody but the other side of this test will see. */
function selfSigned(): { cert: Buffer; key: Buffer } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const name = tlv(0x30, tlv(0x31, tlv(0x30, COMMON_NAME, tlv(0x0c, Buffer.from(NAME)))));
  const serial = tlv(0x02, Buffer.from([1]));
  const body = tlv(0x30, serial, ALGORITHM, name, VALIDITY, name, publicKey.export({ type: 'spki', format: 'der' }));
  const signature = tlv(0x03, Buffer.from([0]), sign('sha256', body, privateKey));
  const der = tlv(0x30, body, ALGORITHM, signature);
  return {
    cert: Buffer.from(
      `-----BEGIN CERTIFICATE-----\n${(der.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`,
    ),
    key: Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' }) as string),
  };
}

function tlv(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const n = content.length;
  return Buffer.concat([Buffer.from(n < 0x80 ? [tag, n] : n < 0x100 ? [tag, 0x81, n] : [tag, 0x82, n >> 8, n & 0xff]), content]);
}
