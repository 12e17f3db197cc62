import { codeName } from '../http/h3/codes.ts';
import type { CloseReason } from '../quic/engine.ts';

/** RFC 9000 s20.1, by code. */
const TRANSPORT = [
  'NO_ERROR',
  'INTERNAL_ERROR',
  'CONNECTION_REFUSED',
  'FLOW_CONTROL_ERROR',
  'STREAM_LIMIT_ERROR',
  'STREAM_STATE_ERROR',
  'FINAL_SIZE_ERROR',
  'FRAME_ENCODING_ERROR',
  'TRANSPORT_PARAMETER_ERROR',
  'CONNECTION_ID_LIMIT_ERROR',
  'PROTOCOL_VIOLATION',
  'INVALID_TOKEN',
  'APPLICATION_ERROR',
  'CRYPTO_BUFFER_EXCEEDED',
  'KEY_UPDATE_ERROR',
  'AEAD_LIMIT_REACHED',
  'NO_VIABLE_PATH',
] as const;

/** A label from a closed list: what a peer sends never becomes one. */
export function closeCodeName(why: CloseReason): string {
  if (why.side === 'timeout' || why.side === 'reset') return why.side;
  if (why.app) return codeName(why.code);
  return TRANSPORT[why.code] ?? (why.code >= 0x100 && why.code <= 0x1ff ? 'CRYPTO_ERROR' : 'other');
}
