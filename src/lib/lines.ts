/** Whole lines to a reader that may stall: what does not fit is dropped and counted, never waited for. */
import { fstatSync, write as writeFd } from 'node:fs';
import { Socket } from 'node:net';

export interface LineSink {
  /** Writes all bytes, then calls `done` once; an error means that nothing can be written any more. */
  write(bytes: Buffer, done: (error: Error | null) => void): void;
}

const BATCH_BYTES = 256 * 1024;

const countLines = (text: string): number => {
  let n = 0;
  for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) n++;
  return n;
};

export class LineWriter {
  dropped = 0;
  private sink: LineSink;
  private readonly limit: number;
  private readonly onDropped: (lines: number) => void;
  private queue: string[] = [];
  private queued = 0;
  private writing = false;
  private broken = false;
  private idle: (() => void)[] = [];

  constructor(sink: LineSink, limitBytes: number, onDropped: (lines: number) => void) {
    this.sink = sink;
    this.limit = limitBytes;
    this.onDropped = onDropped;
  }

  /** One or more whole lines, each with its line end. */
  write(lines: string): void {
    // A character may take more than one byte; the bound is on memory, so an estimate will do.
    if (this.broken || this.queued + lines.length > this.limit) {
      const n = countLines(lines);
      this.dropped += n;
      this.onDropped(n);
      return;
    }
    this.queue.push(lines);
    this.queued += lines.length;
    if (!this.writing) this.pump();
  }

  /** Writes to another sink from the next batch on: log rotation. */
  reopen(sink: LineSink): void {
    this.sink = sink;
    this.broken = false;
  }

  /** Resolves when everything is written or cannot be, at the latest after `ms`. */
  flush(ms: number): Promise<void> {
    if (!this.writing) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.idle.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  private pump(): void {
    let n = 0;
    let size = 0;
    while (n < this.queue.length && (n === 0 || size + (this.queue[n] as string).length <= BATCH_BYTES)) {
      size += (this.queue[n] as string).length;
      n++;
    }
    if (n === 0) {
      this.writing = false;
      for (const fn of this.idle.splice(0)) fn();
      return;
    }
    const batch = this.queue.splice(0, n).join('');
    this.writing = true;
    this.sink.write(Buffer.from(batch), (error) => {
      this.queued -= size;
      if (error !== null) this.give(batch);
      this.pump();
    });
  }

  private give(batch: string): void {
    this.broken = true;
    const lost = countLines(batch) + this.queue.reduce((sum, lines) => sum + countLines(lines), 0);
    this.queue = [];
    this.queued = 0;
    this.dropped += lost;
    this.onDropped(lost);
  }
}

const RETRY_MS = 10;

/** Files and terminals: the write happens on libuv's threads, so that a stopped terminal stops no loop. */
const writeAll = (fd: number, bytes: Buffer, at: number, done: (error: Error | null) => void): void => {
  writeFd(fd, bytes, at, bytes.length - at, null, (error, written) => {
    if (error !== null && error.code === 'EAGAIN') setTimeout(writeAll, RETRY_MS, fd, bytes, at, done);
    else if (error !== null) done(error);
    else if (at + written < bytes.length) writeAll(fd, bytes, at + written, done);
    else done(null);
  });
};

/** Node writes to pipes of `process.stdout` synchronously; these sinks never block. */
export const fdSink = (fd: number): LineSink => {
  const kind = fstatSync(fd);
  if (!kind.isFIFO() && !kind.isSocket()) return { write: (bytes, done) => writeAll(fd, bytes, 0, done) };
  const socket = new Socket({ fd, readable: false, writable: true });
  socket.on('error', () => {});
  return {
    write: (bytes, done) => {
      socket.write(bytes, (error) => done(error ?? null));
    },
  };
};

/** `2>&1` gives two descriptors of one pipe: one sink then, or lines of the two would be torn. */
export const sameFile = (a: number, b: number): boolean => {
  const x = fstatSync(a);
  const y = fstatSync(b);
  return x.dev === y.dev && x.ino === y.ino;
};
