import { createHash, createPrivateKey, hkdfSync, type KeyObject } from 'node:crypto';
import { messageOf } from '../../../lib/message.ts';
import type { Limits, ListenOptions, TlsEntry, TlsId, TlsPair, TlsTable } from '../engine.ts';
import { checkAlpn, checkNames, checkTicketKeys, readCa, readPair, readPairs, TICKET_KEY } from '../entry.ts';
import { UnsupportedOption } from '../failure.ts';
import { quiche, MAX_SEND, type Config } from './binding.ts';
import type { Hello } from './hello.ts';

/** What a `Config` holds beside TLS. */
export interface Transport {
  readonly limits: Limits;
  readonly congestion: ListenOptions['congestion'];
}

/** Streams begin with at most this window and grow to the configured one as they are read. */
export const INITIAL_STREAM_WINDOW = 256 * 1024;
/** Connection-level updates of quiche 0.18 get lost: a window that never needs one stands in; the byte budget bounds memory. */
const CONNECTION_WINDOW = 2 ** 50;
/** Control streams need little; two bytes on the wire. */
const UNI_WINDOW = 16_383;

/** One usable pair of a chain and its key, and what it can sign. */
interface SigningPair {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly signatures: readonly number[];
}

/** Each of its certificates has a config of its own, made in the middle of a handshake: what the binding refuses is told before. */
export function unfit(given: TlsPair): string | null {
  const pair = readPair(given);
  if (!pair.ok) return pair.error;
  try {
    quiche.Config.withBoringSslCtx(false, false, null, [Buffer.from(pair.value.key)], [Buffer.from(pair.value.cert)]);
    return null;
  } catch (e) {
    return messageOf(e);
  }
}

/** The configs of one entry: one per certificate and ticket key, made when first used. */
export class TlsContext {
  readonly entry: TlsEntry;
  private readonly pairs: readonly SigningPair[];
  private readonly ca: Buffer | null;
  private readonly tickets: readonly Buffer[];
  private transport: Transport;
  private configs: (Config | null)[];

  constructor(entry: TlsEntry, transport: Transport) {
    this.entry = entry;
    this.pairs = readPairs(entry).map(({ cert, key }) => ({
      cert: Buffer.from(cert),
      key: Buffer.from(key),
      signatures: signaturesOf(entry.id, createPrivateKey(key)),
    }));
    const ca = readCa(entry);
    this.ca = ca === null ? null : Buffer.from(ca);
    checkTicketKeys(entry);
    this.tickets = entry.ticketKeys.map((k) => policyKey(entry, k));
    this.transport = transport;
    this.configs = [];
    checkAlpn(entry);
    if (entry.earlyData) throw new UnsupportedOption('matrixai', 'earlyData', 'quiche 0.18 has no replay protection');
    // Whatever the binding still refuses is refused here and not in the middle of a handshake.
    this.config(0, 0);
  }

  setTransport(transport: Transport): void {
    this.transport = transport;
    this.configs = [];
  }

  choose(hello: Hello): Config {
    let pair = this.pairs.findIndex((p) => p.signatures.some((s) => hello.signatures.includes(s)));
    if (pair < 0) pair = 0;
    return this.config(pair, this.ticketOf(hello.pskName));
  }

  /** A ticket of an older key needs the config with that key: a config has only one. */
  private ticketOf(name: Buffer | null): number {
    if (name === null) return 0;
    for (let i = 1; i < this.tickets.length; i++) if (name.equals((this.tickets[i] as Buffer).subarray(0, 16))) return i;
    return 0;
  }

  private config(pair: number, ticket: number): Config {
    const i = pair * Math.max(1, this.tickets.length) + ticket;
    let c = this.configs[i] ?? null;
    if (c === null) {
      c = this.make(this.pairs[pair] as SigningPair, this.tickets[ticket] ?? null);
      this.configs[i] = c;
    }
    return c;
  }

  private make(pair: SigningPair, ticket: Buffer | null): Config {
    const auth = this.entry.clientAuth;
    const c = quiche.Config.withBoringSslCtx(auth !== 'none', false, this.ca, [pair.key], [pair.cert]);
    // The binding's mode is "ask and insist"; quiche's own call takes the insisting away again.
    if (auth === 'request') c.verifyPeer(true);
    if (ticket !== null) c.setTicketKey(ticket);
    c.setApplicationProtos([...this.entry.alpn]);
    applyTransport(c, this.transport);
    return c;
  }
}

export function applyTransport(c: Config, t: Transport): void {
  const l = t.limits;
  const start = Math.min(l.streamWindow, INITIAL_STREAM_WINDOW);
  c.setMaxIdleTimeout(l.idleMs);
  // Zeros are left out of the transport parameters, for which quiche 0.18 has 128 bytes and no more: the defaults of RFC 9000 s18.2
  // hold then (any datagram size, 25 ms of delay), and after a Retry, with two more ids, everything still fits.
  c.setMaxRecvUdpPayloadSize(0);
  c.setMaxAckDelay(0);
  c.setMaxSendUdpPayloadSize(MAX_SEND);
  c.setInitialMaxData(CONNECTION_WINDOW);
  c.setMaxConnectionWindow(CONNECTION_WINDOW);
  c.setInitialMaxStreamDataBidiLocal(0);
  c.setInitialMaxStreamDataBidiRemote(start);
  c.setInitialMaxStreamDataUni(Math.min(l.streamWindow, UNI_WINDOW));
  c.setMaxStreamWindow(l.streamWindow);
  c.setInitialMaxStreamsBidi(l.bidi);
  c.setInitialMaxStreamsUni(l.uni);
  c.setActiveConnectionIdLimit(2);
  c.setDisableActiveMigration(true);
  c.setCcAlgorithmName(t.congestion);
  c.enableHystart(true);
  c.enablePacing(false);
  if (l.datagrams) c.enableDgram(true, 64, 64);
}

/** All contexts of a table. Entries keep their contexts from one table to the next: ids are never reused. */
export class TlsContexts {
  private readonly byId = new Map<TlsId, TlsContext>();
  readonly table: TlsTable;

  constructor(table: TlsTable, transport: Transport, before: TlsContexts | null) {
    this.table = table;
    for (const e of table.entries) {
      const known = before?.byId.get(e.id);
      this.byId.set(e.id, known !== undefined && known.entry === e ? known : new TlsContext(e, transport));
    }
    checkNames(table);
  }

  get(id: TlsId): TlsContext {
    return this.byId.get(id) as TlsContext;
  }

  setTransport(t: Transport): void {
    for (const c of this.byId.values()) c.setTransport(t);
  }
}

/**
 * The ticket key of a policy: tickets must never resume where client certificates are judged otherwise
 * (quiche sets no session id context, so a ticket of a lax config would pass a strict one that shares its key).
 */
function policyKey(entry: TlsEntry, key: Uint8Array): Buffer {
  const ca = createHash('sha256')
    .update(entry.ca ?? '')
    .digest('hex');
  return Buffer.from(
    hkdfSync('sha256', key, '', `ticket ${entry.clientAuth} ${entry.earlyData} ${ca} ${JSON.stringify(entry.alpn)}`, TICKET_KEY),
  );
}

/** The signature schemes (RFC 8446 s4.2.3) that this key can serve in TLS 1.3. */
function signaturesOf(id: TlsId, key: KeyObject): readonly number[] {
  if (key.asymmetricKeyType === 'rsa') return [0x0804, 0x0805, 0x0806];
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve === 'prime256v1') return [0x0403];
  if (curve === 'secp384r1') return [0x0503];
  if (curve === 'secp521r1') return [0x0603];
  throw new RangeError(`TLS entry ${id}: keys of type ${curve ?? key.asymmetricKeyType} are not supported`);
}
