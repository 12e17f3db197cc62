/** Reading from a disk that others write to: bounded, never waiting on a pipe, every failure as text. */
import { constants, type BigIntStats } from 'node:fs';
import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileContent } from '../../contract/resources/index.ts';
import { err, ok, type Result } from '../../lib/result.ts';

export const MAX_CONFIG_BYTES = 64 * 1024 * 1024;
export const MAX_CREDENTIAL_BYTES = 1024 * 1024;
const MAX_BUNDLE_BYTES = 8 * 1024 * 1024;
const MAX_BUNDLE_FILES = 1024;

const REASONS: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'no such file or directory'],
  ['EACCES', 'permission denied'],
  ['EPERM', 'permission denied'],
  ['EISDIR', 'is a directory'],
  ['ENOTDIR', 'a part of its path is not a directory'],
  ['ELOOP', 'its symbolic links go round in a circle'],
  ['ENAMETOOLONG', 'its name is too long'],
  ['ERR_INVALID_ARG_VALUE', 'its name has a NUL'],
]);

export function failureText(e: unknown): string {
  const code = typeof e === 'object' && e !== null && 'code' in e ? String(e.code) : '';
  return `cannot be read: ${REASONS.get(code) ?? (code || 'unknown error')}`;
}

/** Whatever a path leads to: null when nothing. */
export async function kindOf(path: string): Promise<Result<'file' | 'directory', string>> {
  try {
    const s = await stat(path);
    if (s.isFile()) return ok('file');
    return s.isDirectory() ? ok('directory') : err('cannot be read: neither a file nor a directory');
  } catch (e) {
    return err(failureText(e));
  }
}

/** Changes when what a path leads to does: another file, other content, or none. */
export async function signatureOf(path: string): Promise<string> {
  try {
    return signature(await stat(path, { bigint: true }));
  } catch {
    return '';
  }
}

/** What a path leads to, and how it looks, at one moment. */
export interface Look {
  readonly signature: string;
  readonly kind: Result<'file' | 'directory', string>;
  /** Milliseconds since the epoch of its last change; 0 when there is nothing. */
  readonly changed: number;
}

export async function lookAt(path: string): Promise<Look> {
  try {
    const s = await stat(path, { bigint: true });
    const kind = s.isFile()
      ? ok('file' as const)
      : s.isDirectory()
        ? ok('directory' as const)
        : err('cannot be read: neither a file nor a directory');
    return { signature: signature(s), kind, changed: Number(s.ctimeMs) };
  } catch (e) {
    return { signature: '', kind: err(failureText(e)), changed: 0 };
  }
}

const signature = (s: BigIntStats): string => `${s.dev}:${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}`;

const NONE = Buffer.alloc(0);
/** Files of this size are read into what was read into before, where that is large enough, and not far too large: it is kept for the file. */
export const LARGE = 256 * 1024;

export async function readBounded(path: string, max: number, spare: Buffer = NONE): Promise<Result<Buffer, string>> {
  try {
    // Without blocking: opening a pipe would wait for its writer.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const s = await file.stat();
      if (s.isDirectory()) return err('cannot be read: is a directory');
      if (!s.isFile()) return err('cannot be read: not a file');
      if (s.size > max) return err(`cannot be read: has more than ${max} bytes`);
      const bytes = s.size < LARGE ? await file.readFile() : await readLarge(file, s.size, spare);
      return bytes.length > max ? err(`cannot be read: has more than ${max} bytes`) : ok(bytes);
    } finally {
      await file.close();
    }
  } catch (e) {
    return err(failureText(e));
  }
}

/** Whole, also when it has grown since it was looked at. */
async function readLarge(file: FileHandle, size: number, spare: Buffer): Promise<Buffer> {
  // Room to grow: a document more should not need another buffer.
  const room = size + (size >> 3);
  const into = spare.length > size && spare.length <= 2 * room ? spare : Buffer.from(new ArrayBuffer(room));
  let at = 0;
  while (at < into.length) {
    const { bytesRead } = await file.read(into, at, into.length - at, null);
    if (bytesRead === 0) return into.subarray(0, at);
    at += bytesRead;
  }
  return Buffer.concat([into, await file.readFile()]);
}

const CERTIFICATE = '-----BEGIN CERTIFICATE-----';

/** A file as it is; a directory as the concatenation of those of its files that hold certificates, by name. */
export async function readCredential(path: string): Promise<FileContent> {
  const kind = await kindOf(path);
  if (!kind.ok) return { ok: false, problem: kind.error };
  if (kind.value === 'file') {
    const read = await readBounded(path, MAX_CREDENTIAL_BYTES);
    return read.ok ? { ok: true, bytes: read.value } : { ok: false, problem: read.error };
  }
  try {
    return await readBundle(path, (await readdir(path)).filter((n) => !n.startsWith('.')).sort());
  } catch (e) {
    return { ok: false, problem: failureText(e) };
  }
}

async function readBundle(directory: string, names: readonly string[]): Promise<FileContent> {
  if (names.length > MAX_BUNDLE_FILES) return { ok: false, problem: `cannot be read: has more than ${MAX_BUNDLE_FILES} files` };
  const pieces: Buffer[] = [];
  let total = 0;
  for (const name of names) {
    const path = join(directory, name);
    const kind = await kindOf(path);
    if (!kind.ok || kind.value !== 'file') continue;
    const read = await readBounded(path, MAX_CREDENTIAL_BYTES);
    if (!read.ok) return { ok: false, problem: `${name}: ${read.error}` };
    if (!read.value.includes(CERTIFICATE)) continue;
    total += read.value.length + 1;
    if (total > MAX_BUNDLE_BYTES) return { ok: false, problem: `cannot be read: has more than ${MAX_BUNDLE_BYTES} bytes` };
    pieces.push(read.value, Buffer.from('\n'));
  }
  return pieces.length === 0 ? { ok: false, problem: 'has no file with a certificate in PEM' } : { ok: true, bytes: Buffer.concat(pieces) };
}

/** UTF-8 text without a byte order mark; null when it is something else. */
export function decodeText(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}
