import { afterAll, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readKeyFile, readTokenAgain, readTokenFile } from '../../../src/cli/serve/files.ts';

const dir = mkdtempSync(join(tmpdir(), 'spooky-files-'));
afterAll(() => rmSync(dir, { recursive: true }));

const file = (bytes: Uint8Array | string): string => {
  const path = join(dir, 'f');
  writeFileSync(path, bytes);
  return path;
};
const key = (bytes: Uint8Array | string): number | string => {
  const read = readKeyFile(file(bytes));
  return read.ok ? read.value.length : read.error;
};

describe('the key', () => {
  test.each([
    ['32 bytes', Buffer.alloc(32, 7), 32],
    ['32 bytes of which the last happens to be a line end', Buffer.concat([Buffer.alloc(31, 7), Buffer.from('\n')]), 32],
    ['32 bytes and a line end', Buffer.concat([Buffer.alloc(32, 7), Buffer.from('\n')]), 32],
    ['4096 bytes', Buffer.alloc(4096, 7), 4096],
  ])('%s', (_, bytes, length) => expect(key(bytes)).toBe(length));

  test('too short, too long, or none', () => {
    expect(key('short')).toMatch(/5 bytes, at least 32 wanted/);
    expect(key(Buffer.alloc(4097))).toMatch(/more than 4096 bytes/);
    expect(readKeyFile(join(dir, 'none'))).toMatchObject({ ok: false });
    expect(readKeyFile(dir)).toMatchObject({ ok: false });
  });

  test('a device without an end is not read for ever', () =>
    expect(readKeyFile('/dev/zero')).toEqual({ ok: false, error: '/dev/zero: more than 4096 bytes' }));
});

test('the token is one word, without the line end of its file', () => {
  const token = readTokenFile(file('0123456789abcdef\n'));
  expect(token.ok && Buffer.from(token.value.reveal()).toString()).toBe('0123456789abcdef');
  for (const bad of ['', 'too-short', 'two words, long enough', `${'x'.repeat(20)}\u00e9`]) expect(readTokenFile(file(bad)).ok).toBe(false);
});

test('the token is read again from files alone: a pipe would keep the process waiting', () => {
  const path = file('0123456789abcdef\n');
  expect(readTokenAgain(path).ok).toBe(true);
  const pipe = join(dir, 'pipe');
  execFileSync('mkfifo', [pipe]);
  expect(readTokenAgain(pipe)).toEqual({ ok: false, error: `${pipe}: it is no file: only a file can be read again` });
  expect(readTokenAgain(join(dir, 'none'))).toMatchObject({ ok: false, error: expect.stringContaining('ENOENT') });
});
