import { isIPv4, isIPv6 } from 'node:net';
import type { Address } from './engine.ts';

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] as const;

/** Whether the first twelve bytes say that this is IPv4 (::ffff:a.b.c.d). */
export function isMapped(a: Address): boolean {
  for (let i = 0; i < 12; i++) if (a[i] !== MAPPED[i]) return false;
  return true;
}

/** The 18 bytes of an IP literal (an IPv6 zone is dropped) and a port; null when it is none. */
export function addressFrom(host: string, port: number): Address | null {
  if (!Number.isInteger(port) || port < 0 || port > 65535) return null;
  const out = new Uint8Array(18);
  if (isIPv4(host)) {
    out[10] = 0xff;
    out[11] = 0xff;
    putIPv4(host, out, 12);
  } else if (isIPv6(host)) putIPv6(host, out);
  else return null;
  out[16] = port >> 8;
  out[17] = port & 0xff;
  return out;
}

export function portOf(a: Address): number {
  return ((a[16] as number) << 8) | (a[17] as number);
}

/** The host as text: dotted for IPv4, RFC 5952 for IPv6. */
export function hostOf(a: Address): string {
  return isMapped(a) ? `${a[12]}.${a[13]}.${a[14]}.${a[15]}` : ipv6Text(a);
}

export function addressText(a: Address): string {
  return isMapped(a) ? `${hostOf(a)}:${portOf(a)}` : `[${hostOf(a)}]:${portOf(a)}`;
}

export function sameAddress(a: Address, b: Address): boolean {
  for (let i = 0; i < 18; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** What limits count by: the IPv4 address, or the IPv6 /64, since a client owns all of its /64. */
export function limitKey(a: Address): string {
  if (isMapped(a)) return hostOf(a);
  let out = '';
  for (let i = 0; i < 8; i += 2) out += `${(((a[i] as number) << 8) | (a[i + 1] as number)).toString(16)}:`;
  return out;
}

function putIPv4(host: string, out: Uint8Array, at: number): void {
  let part = 0;
  for (let i = 0; i < host.length; i++) {
    const c = host.charCodeAt(i);
    if (c === 46) {
      out[at++] = part;
      part = 0;
    } else part = part * 10 + (c - 48);
  }
  out[at] = part;
}

function putIPv6(text: string, out: Uint8Array): void {
  const zone = text.indexOf('%');
  const host = zone < 0 ? text : text.slice(0, zone);
  const gap = host.indexOf('::');
  const head = gap < 0 ? host : host.slice(0, gap);
  const tail = gap < 0 ? '' : host.slice(gap + 2);
  putGroups(head, out, 0);
  if (tail !== '') putGroups(tail, out, 16 - groupBytes(tail));
}

function groupBytes(text: string): number {
  const parts = text.split(':');
  return parts.length * 2 + (text.includes('.') ? 2 : 0);
}

function putGroups(text: string, out: Uint8Array, at: number): void {
  if (text === '') return;
  for (const part of text.split(':')) {
    if (part.includes('.')) {
      putIPv4(part, out, at);
      return;
    }
    const group = Number.parseInt(part, 16);
    out[at++] = group >> 8;
    out[at++] = group & 0xff;
  }
}

/** RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups as `::`. */
function ipv6Text(a: Address): string {
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((a[i] as number) << 8) | (a[i + 1] as number));
  let best = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n++;
    if (n > length) {
      best = i;
      length = n;
    }
  }
  const hex = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((g) => g.toString(16))
      .join(':');
  return best < 0 ? hex(0, 8) : `${hex(0, best)}::${hex(best + length, 8)}`;
}
