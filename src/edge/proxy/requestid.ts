import { randomFillSync } from 'node:crypto';
import { latin1 } from '../../lib/bytes/latin1.ts';

const IDS = 512;
const BYTES = 16;
/** `xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx` */
const LENGTH = 36;
/** Where the two digits of each octet stand. */
const PLACES = Uint8Array.of(0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34);

const HEX = '0123456789abcdef';
const HIGH = Uint8Array.from({ length: 256 }, (_, octet) => HEX.charCodeAt(octet >> 4));
const LOW = Uint8Array.from({ length: 256 }, (_, octet) => HEX.charCodeAt(octet & 15));

const random = Buffer.allocUnsafeSlow(IDS * BYTES);
/** The dashes are there already. */
const text = Buffer.allocUnsafeSlow(IDS * LENGTH).fill('-');
let next = IDS;

/**
 * A random UUID (RFC 9562 s5.4). Many are spelt out at once, in bytes: put together from strings, one is a tree of twenty
 * that its first reader has to flatten, which costs several times more than the rest.
 */
export function makeRequestId(): string {
  if (next === IDS) refill();
  const at = next++ * LENGTH;
  return latin1(text, at, at + LENGTH);
}

function refill(): void {
  randomFillSync(random);
  for (let i = 0; i < IDS; i++) spell(i * BYTES, i * LENGTH);
  next = 0;
}

function spell(from: number, to: number): void {
  random[from + 6] = ((random[from + 6] as number) & 0x0f) | 0x40;
  random[from + 8] = ((random[from + 8] as number) & 0x3f) | 0x80;
  for (let i = 0; i < BYTES; i++) {
    const octet = random[from + i] as number;
    const at = to + (PLACES[i] as number);
    text[at] = HIGH[octet] as number;
    text[at + 1] = LOW[octet] as number;
  }
}
