/** The key and the token: small files with requirements. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { messageOf } from '../../lib/message.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import { Secret } from '../../lib/secret.ts';

const MIN_KEY_BYTES = 32;
const MAX_KEY_BYTES = 4096;
const MIN_TOKEN = 16;
const MAX_TOKEN = 4096;

/** By hand: a device has no end, a pipe no size. */
const readAtMost = (file: number, path: string, most: number): Result<Buffer, string> => {
  const bytes = Buffer.alloc(most + 1);
  let length = 0;
  while (length <= most) {
    const n = readSync(file, bytes, length, bytes.length - length, null);
    if (n === 0) return ok(bytes.subarray(0, length));
    length += n;
  }
  return err(`${path}: more than ${most} bytes`);
};

const read = (path: string, most: number): Result<Buffer, string> => {
  try {
    const file = openSync(path, 'r');
    try {
      return readAtMost(file, path, most);
    } finally {
      closeSync(file);
    }
  } catch (e) {
    return err(`${path}: ${messageOf(e)}`);
  }
};

/** The file's bytes as they are; a line end behind a whole key does not count, but one byte of a random key in 256 is one. */
export const readKeyFile = (path: string): Result<Uint8Array, string> => {
  const bytes = read(path, MAX_KEY_BYTES);
  if (!bytes.ok) return bytes;
  const lineEnd = bytes.value.at(-1) === 0x0a && bytes.value.length > MIN_KEY_BYTES;
  const key = lineEnd ? bytes.value.subarray(0, -1) : bytes.value;
  if (key.length < MIN_KEY_BYTES)
    return err(`${path}: ${key.length} bytes, at least ${MIN_KEY_BYTES} wanted (head -c 32 /dev/urandom > ${path})`);
  return ok(new Uint8Array(key));
};

export const readTokenFile = (path: string): Result<Secret, string> => {
  const bytes = read(path, MAX_TOKEN);
  if (!bytes.ok) return bytes;
  const token = bytes.value.toString('latin1').trim();
  if (!/^[\x21-\x7e]+$/.test(token)) return err(`${path}: the token must be one word of printable ASCII`);
  if (token.length < MIN_TOKEN) return err(`${path}: ${token.length} characters, at least ${MIN_TOKEN} wanted`);
  return ok(new Secret(Buffer.from(token, 'latin1')));
};

/** While serving. A pipe has been read, and to open it once more would wait for somebody who writes into it: so would everything else. */
export const readTokenAgain = (path: string): Result<Secret, string> => {
  try {
    if (!statSync(path).isFile()) return err(`${path}: it is no file: only a file can be read again`);
  } catch (e) {
    return err(`${path}: ${messageOf(e)}`);
  }
  return readTokenFile(path);
};

/** Nodes of an installation have different numbers, the same one after every restart. */
export const nodeNumber = (nodeName: string): number => createHash('sha256').update(nodeName).digest().readUInt32BE(0);
