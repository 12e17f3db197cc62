/** Chunks of bytes to lines, which end with LF. A line inside one chunk is a view of it; a longer one is put together once. */

const LF = 0x0a;

export class Lines {
  private readonly limit: number;
  private readonly onLine: (line: Buffer) => void;
  private parts: Buffer[] = [];
  private waiting = 0;
  private closed = false;

  /** Lines of more than `limit` bytes are refused. */
  constructor(limit: number, onLine: (line: Buffer) => void) {
    this.limit = limit;
    this.onLine = onLine;
  }

  /** Bytes of a line that has not ended. */
  get rest(): number {
    return this.waiting;
  }

  /** False: a line is too long; nothing comes any more. What `onLine` throws goes to the caller. */
  push(chunk: Buffer): boolean {
    let at = 0;
    while (!this.closed) {
      const end = chunk.indexOf(LF, at);
      const length = (end < 0 ? chunk.length : end) - at;
      if (this.waiting + length > this.limit) return this.refuse();
      const part = chunk.subarray(at, at + length);
      if (end < 0) {
        this.keep(part);
        return true;
      }
      at = end + 1;
      this.onLine(this.join(part));
    }
    return true;
  }

  /** Nothing comes any more, also not of the chunk at hand. */
  close(): void {
    this.closed = true;
    this.parts = [];
    this.waiting = 0;
  }

  private keep(part: Buffer): void {
    if (part.length === 0) return;
    this.parts.push(part);
    this.waiting += part.length;
  }

  private join(last: Buffer): Buffer {
    if (this.parts.length === 0) return last;
    const line = Buffer.concat([...this.parts, last]);
    this.parts = [];
    this.waiting = 0;
    return line;
  }

  private refuse(): boolean {
    this.close();
    return false;
  }
}
