import quiche from '@matrixai/quic/native/quiche.js';
import type { Config, Connection, ConnectionError, RecvInfo } from '@matrixai/quic/native/types.js';

/**
 * The one door to the native binding, quiche 0.18. What everybody behind it must know:
 * a Rust panic ends the process, so nothing unchecked may pass; `recv` decrypts in place; errors are text; iterators must be
 * used up at once; native memory is freed by garbage collection only, which does not see it.
 */
export { quiche };
export type { Config, Connection, ConnectionError, RecvInfo };

export const QUICHE_VERSION = '0.18.0 (@matrixai/quic 2.0.9)';
export const SHUTDOWN_READ = 0;
export const SHUTDOWN_WRITE = 1;
/** The largest datagram that quiche shall make: fits 1400-byte paths under IPv6. */
export const MAX_SEND = 1350;

/** What quiche calls the error: `Done`, `StreamReset`, ... without its number. */
export function errorName(e: unknown): string {
  const text = messageOf(e);
  const open = text.indexOf('(');
  return open < 0 ? text : text.slice(0, open);
}

/** The number in `StreamReset(268)`; 0 when there is none. Saturates at 2^53-1. */
export function errorNumber(e: unknown): number {
  const text = messageOf(e);
  const open = text.indexOf('(');
  if (open < 0) return 0;
  const value = Number.parseInt(text.slice(open + 1), 10);
  return Number.isNaN(value) ? 0 : Math.min(value, Number.MAX_SAFE_INTEGER);
}

/** By its shape: the binding's errors may belong to another realm, where `instanceof` says no. */
function messageOf(e: unknown): string {
  if (typeof e !== 'object' || e === null || !('message' in e)) return '';
  return typeof e.message === 'string' ? e.message : '';
}
