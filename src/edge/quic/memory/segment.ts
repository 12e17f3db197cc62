import type { CloseReason } from '../engine.ts';

/** What travels between two memory connections. Everything but datagrams arrives in the end, in whatever order. */
export type Segment =
  | { readonly kind: 'stream'; readonly id: number; readonly offset: number; readonly bytes: Uint8Array; readonly fin: boolean }
  | { readonly kind: 'reset'; readonly id: number; readonly code: number; readonly size: number }
  | { readonly kind: 'stop'; readonly id: number; readonly code: number }
  | { readonly kind: 'window'; readonly id: number; readonly limit: number }
  | { readonly kind: 'credit'; readonly limit: number }
  | { readonly kind: 'streams'; readonly bidi: number; readonly uni: number }
  | { readonly kind: 'ack'; readonly bytes: number }
  | { readonly kind: 'datagram'; readonly bytes: Uint8Array }
  | { readonly kind: 'ping' }
  | { readonly kind: 'close'; readonly why: CloseReason };

/** About what the segment would weigh on a wire. */
export function weigh(s: Segment): number {
  return s.kind === 'stream' || s.kind === 'datagram' ? 30 + s.bytes.length : 30;
}
