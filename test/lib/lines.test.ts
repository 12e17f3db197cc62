import { describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fdSink, LineWriter, sameFile, type LineSink } from '../../src/lib/lines.ts';

class StalledSink implements LineSink {
  written: string[] = [];
  private done: ((error: Error | null) => void) | null = null;

  write(bytes: Buffer, done: (error: Error | null) => void): void {
    this.written.push(bytes.toString());
    this.done = done;
  }

  release(error: Error | null = null): void {
    const done = this.done;
    this.done = null;
    done?.(error);
  }
}

describe('a stalled reader', () => {
  test('costs whole lines beyond the limit, counted, and what was queued still comes in order', () => {
    const sink = new StalledSink();
    const counted: number[] = [];
    const writer = new LineWriter(sink, 100, (n) => counted.push(n));
    writer.write('first\n');
    for (let i = 0; i < 20; i++) writer.write(`line ${i} ...\n`);
    writer.write('two\nlines '.repeat(20) + '\n');
    expect(writer.dropped).toBe(counted.reduce((a, b) => a + b, 0));
    expect(writer.dropped).toBeGreaterThan(20);
    sink.release();
    sink.release();
    expect(sink.written[0]).toBe('first\n');
    expect(sink.written[1]).toMatch(/^line 0 \.\.\.\nline 1 \.\.\.\n/);
    expect(sink.written[1]?.endsWith('\n')).toBe(true);
    writer.write('after\n');
    expect(sink.written[2]).toBe('after\n');
  });

  test('flush gives up after its time', async () => {
    const writer = new LineWriter(new StalledSink(), 100, () => {});
    writer.write('x\n');
    await writer.flush(1);
  });
});

test('a reader that is gone costs lines, not the process; reopen writes again', () => {
  const sink = new StalledSink();
  const writer = new LineWriter(sink, 1000, () => {});
  writer.write('a\n');
  writer.write('b\n');
  sink.release(new Error('EPIPE'));
  writer.write('c\n');
  expect(writer.dropped).toBe(3);
  const next = new StalledSink();
  writer.reopen(next);
  writer.write('d\n');
  expect(next.written).toEqual(['d\n']);
});

test('files: everything arrives in order', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'lines-'));
  const fd = openSync(join(dir, 'log'), 'a');
  const writer = new LineWriter(fdSink(fd), 1 << 24, () => {});
  const lines = Array.from({ length: 5000 }, (_, i) => `line ${i} ${'x'.repeat(i % 200)}\n`);
  for (const line of lines) writer.write(line);
  await writer.flush(5000);
  expect(readFileSync(join(dir, 'log'), 'utf8')).toBe(lines.join(''));
  expect(sameFile(fd, fd)).toBe(true);
  closeSync(fd);
  rmSync(dir, { recursive: true });
});

test('a pipe that nobody reads neither blocks the writer nor its exit', async () => {
  const program = `
    import { fdSink, LineWriter } from ${JSON.stringify(new URL('../../src/lib/lines.ts', import.meta.url).href)};
    const writer = new LineWriter(fdSink(1), 1 << 20, () => {});
    for (let i = 0; i < 100; i++) writer.write('x'.repeat(65535) + '\\n');
    await writer.flush(50);
    process.stderr.write(String(writer.dropped > 0));
    process.exit(7);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.pause();
  let said = '';
  child.stderr.on('data', (b: Buffer) => (said += b.toString()));
  const [code] = (await once(child, 'exit')) as [number];
  expect([code, said]).toEqual([7, 'true']);
  child.stdout.destroy();
});
