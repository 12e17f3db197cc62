import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto';
import type { Address } from '../engine.ts';

/**
 * Retry tokens: proof that a client receives at its address, kept by the client and not by us.
 *
 *     kind u8 (0xa5) | nonce 12 | AES-256-GCM( time u48 | odcid length u8 | odcid 20 ) | tag 16
 *     authenticated beside it: kind, the client's address and port, the id that the Retry handed out
 *
 * All tokens have one length, so that a cut one is seen before any cryptography.
 */
const KIND_RETRY = 0xa5;
const BODY = 6 + 1 + 20;
export const TOKEN_LENGTH = 1 + 12 + BODY + 16;
/** A Retry is answered within a round trip; ten seconds is the most that anybody needs. */
export const TOKEN_LIFE_MS = 10_000;
/** Clocks of two nodes may differ by this much. */
const SKEW_MS = 2_000;

export type TokenVerdict = { readonly kind: 'none' | 'invalid' | 'expired' } | { readonly kind: 'valid'; readonly odcid: Buffer };

const NONE: TokenVerdict = { kind: 'none' };
const INVALID: TokenVerdict = { kind: 'invalid' };
const EXPIRED: TokenVerdict = { kind: 'expired' };

export function sealToken(keys: readonly Uint8Array[], from: Address, id: Uint8Array, odcid: Uint8Array, wallMs: number): Buffer {
  const nonce = randomFillSync(Buffer.allocUnsafeSlow(12));
  const body = Buffer.alloc(BODY);
  body.writeUIntBE(wallMs, 0, 6);
  body[6] = odcid.length;
  body.set(odcid, 7);
  const seal = createCipheriv('aes-256-gcm', keys[0] as Uint8Array, nonce);
  seal.setAAD(bound(from, id));
  const sealed = seal.update(body);
  seal.final();
  return Buffer.concat([Buffer.from([KIND_RETRY]), nonce, sealed, seal.getAuthTag()]);
}

/** What a token is worth from this address on an Initial with destination `id`. Tokens of a kind that is not ours count as none (RFC 9000 s8.1.3). */
export function openToken(keys: readonly Uint8Array[], token: Uint8Array, from: Address, id: Uint8Array, wallMs: number): TokenVerdict {
  if (token.length === 0 || token[0] !== KIND_RETRY) return NONE;
  if (token.length !== TOKEN_LENGTH) return INVALID;
  const aad = bound(from, id);
  for (const key of keys) {
    const body = unseal(key, token, aad);
    if (body !== null) return judge(body, wallMs);
  }
  return INVALID;
}

function unseal(key: Uint8Array, token: Uint8Array, aad: Buffer): Buffer | null {
  const open = createDecipheriv('aes-256-gcm', key, token.subarray(1, 13));
  open.setAAD(aad);
  open.setAuthTag(token.subarray(TOKEN_LENGTH - 16));
  try {
    const body = open.update(token.subarray(13, TOKEN_LENGTH - 16));
    open.final();
    return body;
  } catch {
    return null;
  }
}

function judge(body: Buffer, wallMs: number): TokenVerdict {
  const age = wallMs - body.readUIntBE(0, 6);
  if (age > TOKEN_LIFE_MS || age < -SKEW_MS) return EXPIRED;
  const length = body[6] as number;
  return length > 20 ? INVALID : { kind: 'valid', odcid: Buffer.from(body.subarray(7, 7 + length)) };
}

function bound(from: Address, id: Uint8Array): Buffer {
  const aad = Buffer.alloc(19 + id.length);
  aad[0] = KIND_RETRY;
  aad.set(from, 1);
  aad.set(id, 19);
  return aad;
}

/** Which tokens were used: two halves that take turns, so that memory stays bounded and no used token outlives its time in here. */
export class UsedTokens {
  private young = new Set<string>();
  private old = new Set<string>();
  private turnedAt = 0;
  private readonly limit: number;

  constructor(limit = 65536) {
    this.limit = limit;
  }

  /** False when this token was used before. */
  use(token: Uint8Array, nowMs: number): boolean {
    if (nowMs - this.turnedAt > TOKEN_LIFE_MS + SKEW_MS || this.young.size >= this.limit) {
      this.old = this.young;
      this.young = new Set();
      this.turnedAt = nowMs;
    }
    const tag = Buffer.from(token.buffer, token.byteOffset + TOKEN_LENGTH - 16, 16).toString('latin1');
    if (this.young.has(tag) || this.old.has(tag)) return false;
    this.young.add(tag);
    return true;
  }
}
