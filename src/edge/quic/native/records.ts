/**
 * The records in which the addon and this side speak: eight little-endian words of 32 bits each (native/src/records.rs has the table).
 * `ABI` changes with either file, and with what the exports take and answer.
 */
export const ABI = 3;
/** Words of a record. */
export const WORDS = 8;
export const RECORD_BYTES = WORDS * 4;

export const EVENT_CONN = 1;
export const EVENT_DATA = 2;
export const EVENT_RESET = 3;
export const EVENT_STOP = 4;
export const EVENT_WRITABLE = 5;
export const EVENT_CLOSE = 6;
export const EVENT_DATAGRAM = 7;
export const EVENT_PATH = 8;
export const EVENT_FOREIGN = 9;
export const EVENT_FAILED = 10;
export const EVENT_DRAINED = 11;

export const COMMAND_SEND = 1;
export const COMMAND_RESET = 2;
export const COMMAND_STOP = 3;
export const COMMAND_CLOSE = 4;
export const COMMAND_PAUSE = 5;
export const COMMAND_RESUME = 6;
export const COMMAND_PRIORITY = 7;
export const COMMAND_DATAGRAM = 8;
export const COMMAND_PING = 9;

/** Of DATA and SEND. */
export const FIN = 1;
/** Of SEND. */
export const WANT_WRITABLE = 2;
/** Of CONN. */
export const EARLY = 1;
/** Of CLOSE, both ways; an event has its side in the two bits below. */
export const APPLICATION_EVENT = 4;
export const APPLICATION_COMMAND = 1;
/** Of PRIORITY, above three bits of urgency. */
export const INCREMENTAL = 8;

/** What bits 0 and 1 of a CLOSE event mean. */
export const SIDES = ['local', 'remote', 'timeout', 'reset'] as const;

const U32 = 0x1_0000_0000;

/** Ids and codes have 62 bits; what a number cannot hold exactly is as good as the largest that it can. */
export function join(low: number, high: number): number {
  if (high === 0) return low;
  return high >= 0x20_0000 ? Number.MAX_SAFE_INTEGER : high * U32 + low;
}

export function highHalf(value: number): number {
  return value < U32 ? 0 : Math.floor(value / U32);
}

if (new Uint8Array(Uint32Array.of(1).buffer)[0] !== 1) throw new Error('the native engine needs a little-endian machine');
