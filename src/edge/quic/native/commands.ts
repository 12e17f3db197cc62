import { APPLICATION_COMMAND, COMMAND_CLOSE, COMMAND_SEND, highHalf, WORDS } from './records.ts';

/** Runs the first `count` records, whose buffers are free again when it returns. */
export interface Runner {
  run(count: number): void;
  /** A first command waits. */
  waits(): void;
}

const { copy } = Buffer.prototype;

/** Writes command records and their bytes into the buffers that the addon lends. */
export class Commands {
  private readonly records: Uint32Array;
  private readonly data: Buffer;
  private readonly limit: number;
  private readonly runner: Runner;
  private count = 0;
  private used = 0;

  constructor(records: ArrayBuffer, data: ArrayBuffer, runner: Runner) {
    this.records = new Uint32Array(records);
    this.data = Buffer.from(data);
    this.limit = Math.floor(this.records.length / WORDS);
    this.runner = runner;
  }

  /** How many wait; whoever asks runs them, and the buffers are empty again. */
  take(): number {
    const n = this.count;
    this.count = 0;
    this.used = 0;
    return n;
  }

  plain(kind: number, slot: number, generation: number, id: number, flags: number): void {
    if (this.count === this.limit) this.submit();
    this.put(kind, slot, generation, id, 0, 0, flags);
  }

  /** RESET and STOP: the code stands where others have their span. */
  coded(kind: number, slot: number, generation: number, id: number, code: number): void {
    if (this.count === this.limit) this.submit();
    this.put(kind, slot, generation, id, code, highHalf(code), 0);
  }

  close(slot: number, generation: number, app: boolean, code: number, reason: Uint8Array): void {
    this.bytes(COMMAND_CLOSE, slot, generation, code, reason, 0, reason.length, app ? APPLICATION_COMMAND : 0);
  }

  /** One record with its bytes, which fit into an empty buffer. */
  bytes(kind: number, slot: number, generation: number, id: number, buf: Uint8Array, start: number, end: number, flags: number): void {
    const length = end - start;
    if (this.used + length > this.data.length) this.submit();
    else if (kind === COMMAND_SEND && this.continues(slot, generation, id)) {
      if (length > 0) copy.call(buf, this.data, this.used, start, end);
      return this.extend(length, flags);
    }
    if (this.count === this.limit) this.submit();
    const at = this.used;
    // A third of the cost of `set` with a view.
    if (length > 0) copy.call(buf, this.data, at, start, end);
    this.used = at + length;
    this.put(kind, slot, generation, id, at, length, flags);
  }

  /** The last record sends bytes of the same stream, and nothing but bytes; its are the last ones of the buffer, too. */
  private continues(slot: number, generation: number, id: number): boolean {
    const r = this.records;
    const at = (this.count - 1) * WORDS;
    return (
      at >= 0 &&
      r[at + 3] === id &&
      r[at] === COMMAND_SEND &&
      r[at + 1] === slot &&
      r[at + 2] === generation &&
      r[at + 7] === 0 &&
      r[at + 4] === 0
    );
  }

  private extend(length: number, flags: number): void {
    const r = this.records;
    const at = (this.count - 1) * WORDS;
    r[at + 6] = (r[at + 6] as number) + length;
    r[at + 7] = flags;
    this.used += length;
  }

  /** Any length, in pieces; the flags are those of the last piece. */
  long(kind: number, slot: number, generation: number, id: number, buf: Uint8Array, start: number, end: number, flags: number): void {
    let at = start;
    while (end - at > this.data.length) {
      this.bytes(kind, slot, generation, id, buf, at, at + this.data.length, 0);
      at += this.data.length;
    }
    this.bytes(kind, slot, generation, id, buf, at, end, flags);
  }

  private put(kind: number, slot: number, generation: number, id: number, five: number, six: number, flags: number): void {
    const r = this.records;
    const at = this.count * WORDS;
    r[at] = kind;
    r[at + 1] = slot;
    r[at + 2] = generation;
    // Uint32Array keeps the low 32 bits of a whole number.
    r[at + 3] = id;
    r[at + 4] = highHalf(id);
    r[at + 5] = five;
    r[at + 6] = six;
    r[at + 7] = flags;
    if (this.count++ === 0) this.runner.waits();
  }

  private submit(): void {
    this.runner.run(this.take());
  }
}
