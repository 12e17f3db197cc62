import { createHmac } from 'node:crypto';

/** The stateless reset token of an id: from a key that survives restarts, so that a new process can reset what the old one left. */
export function resetToken(key: Uint8Array, cid: Uint8Array): Buffer {
  return createHmac('sha256', key).update(cid).digest().subarray(0, 16);
}

/** The same as the binding takes it: a big-endian number of 128 bits. */
export function resetTokenNumber(key: Uint8Array, cid: Uint8Array): bigint {
  const t = resetToken(key, cid);
  return (t.readBigUInt64BE(0) << 64n) | t.readBigUInt64BE(8);
}
