import { isIP, isIPv6 } from 'node:net';
import { addressFrom } from './address.ts';
import type { Limits } from './engine.ts';
import { UnsupportedOption } from './failure.ts';

/** What every engine refuses before it opens a socket. */
const RESET_KEY_MIN = 16;
const TOKEN_KEY = 32;

export function checkCounts(l: Limits): void {
  for (const [name, value] of Object.entries(l)) {
    if (name === 'datagrams') continue;
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw new RangeError(`limits.${name}: ${value} is no count`);
  }
}

export function checkCongestion(engine: string, c: string): void {
  if (c !== 'cubic' && c !== 'bbr' && c !== 'reno') throw new UnsupportedOption(engine, 'congestion', 'cubic, bbr or reno wanted');
}

export function checkResetKey(key: Uint8Array): void {
  if (key.length < RESET_KEY_MIN) throw new RangeError('resetKey: at least 16 bytes wanted');
}

export function checkTokenKeys(keys: readonly Uint8Array[]): void {
  if (keys.length === 0) throw new RangeError('tokenKeys: at least one key wanted');
  for (const k of keys) if (k.length !== TOKEN_KEY) throw new RangeError('tokenKeys: 32 bytes wanted');
}

export function checkSuccessors(workers: readonly number[]): void {
  for (const w of workers) if (!Number.isInteger(w) || w < 0 || w > 255) throw new RangeError(`succeed: ${w} is no worker's number`);
}

/** Whether a host stands for all addresses of its family; refuses what is no address. */
export function isWildcard(host: string): boolean {
  const a = addressFrom(host, 0);
  if (a === null) throw new RangeError(`hosts: ${JSON.stringify(host)} is no IP address`);
  return isIPv6(host) ? a.every((b) => b === 0) : host === '0.0.0.0';
}

/** A DNS name to be sent and verified by TLS; null: the address is verified, since it must not be sent as a name (RFC 6066 s3). */
export function serverName(sni: string | null): string | null {
  return sni === null || isIP(sni) !== 0 ? null : sni;
}
