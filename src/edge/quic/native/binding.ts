import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { ABI } from './records.ts';

/** `events` records wait in the buffers; the answer is how many commands do. */
export type Turn = (events: number) => number;

export interface Opened {
  readonly handle: number;
  /** JSON: [{host, port}]. */
  readonly addresses: string;
  readonly eventRecords: ArrayBuffer;
  readonly eventData: ArrayBuffer;
  readonly commandRecords: ArrayBuffer;
  readonly commandData: ArrayBuffer;
}

/** What the addon exports (native/src/exports.rs). Everything throws on misuse, and at a dead endpoint. */
export interface Addon {
  abi(): number;
  /** quiche's. */
  version(): string;
  /** PEM; throws what keeps them from being served. */
  judge(cert: string, key: string): void;
  open(options: string, turn: Turn, fault: (message: string) => void): Opened;
  dial(options: string, turn: Turn, fault: (message: string) => void): Opened;
  /** Runs the first `commands` records, nothing else. */
  submit(handle: number, commands: number): void;
  /** Runs commands, then timers and sending; calls `turn` when that leaves events. Never from inside `turn`. */
  flush(handle: number, commands: number): void;
  forward(handle: number, datagram: Uint8Array, from: Uint8Array, to: Uint8Array): void;
  setTls(handle: number, json: string): void;
  setLimits(handle: number, json: string): void;
  setRetry(handle: number, mode: string): void;
  setCongestion(handle: number, name: string): void;
  setKeys(handle: number, json: string): void;
  /** A JSON list of workers. */
  succeed(handle: number, json: string): void;
  /** JSON: { hosts, name }; answers addresses as `open` does. */
  widen(handle: number, json: string): string;
  narrow(handle: number, json: string): void;
  drain(handle: number): void;
  close(handle: number): void;
  stats(handle: number): string;
  info(handle: number, slot: number, generation: number): string;
  connStats(handle: number, slot: number, generation: number): readonly number[] | null;
  stuck(handle: number, slot: number, generation: number, ms: number): number[];
  /** Only with the cargo feature `inject`. */
  inject?(handle: number, kind: string): void;
}

/** Beside the package's root, whether this runs from src or from dist. */
export const ADDON_FILE = fileURLToPath(new URL('../../../../native/spooky-quic.node', import.meta.url));

const ELF = 0x7f454c46;
const ELF_64_BITS = 2;
const ELF_LITTLE_ENDIAN = 1;

/** The addon in `file`. Errors say what is missing and what to do. */
export function loadAddon(file = ADDON_FILE): Addon {
  if (!existsSync(file)) throw new Error(`${file} is not there: \`make native\` builds it`);
  if (!whole(file)) throw new Error(`${file} is cut short or no file: copy it again, or \`make native\` builds it anew`);
  let addon: Addon;
  try {
    addon = createRequire(import.meta.url)(file) as Addon;
  } catch (e) {
    throw new Error(`${file} cannot be loaded (${(e as Error).message}): \`make native\` builds it for this machine`, { cause: e });
  }
  if (typeof addon.abi !== 'function') throw new Error(`${file} is no engine of ours: \`make native\` builds one`);
  const abi = addon.abi();
  if (abi !== ABI) throw new Error(`${file} speaks version ${abi} of our records, not ${ABI}: \`make native\` builds it anew`);
  return addon;
}

/** An ELF file has all that its header speaks of. The dynamic linker maps what is missing, and whoever touches it dies of SIGBUS. */
function whole(file: string): boolean {
  const stat = statSync(file);
  if (!stat.isFile()) return false;
  const header = Buffer.alloc(64);
  const fd = openSync(file, 'r');
  try {
    if (
      readSync(fd, header, 0, 64, 0) < 64 ||
      header.readUInt32BE(0) !== ELF ||
      header[4] !== ELF_64_BITS ||
      header[5] !== ELF_LITTLE_ENDIAN
    )
      return true;
  } finally {
    closeSync(fd);
  }
  // The section headers are the last thing in the file: where they begin, and how many there are of which size.
  const end = header.readBigUInt64LE(40) + BigInt(header.readUInt16LE(58) * header.readUInt16LE(60));
  return end <= BigInt(stat.size);
}
