import { randomFillSync } from 'node:crypto';
import { latin1 } from '../../lib/bytes/latin1.ts';

const IDS = 128;
const BYTES = 16;
/** `xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx` */
const LENGTH = 36;
const DASH = 0x2d;
/** The octets before which a dash stands, a bit each: 4, 6, 8 and 10. */
const DASHES = 0b101_0101_0000;

const random = Buffer.allocUnsafeSlow(IDS * BYTES);
const text = Buffer.allocUnsafeSlow(IDS * LENGTH);
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
    if ((DASHES & (1 << i)) !== 0) text[to++] = DASH;
    const octet = random[from + i] as number;
    text[to++] = HEX.charCodeAt(octet >> 4);
    text[to++] = HEX.charCodeAt(octet & 15);
  }
}

const HEX = '0123456789abcdef';
