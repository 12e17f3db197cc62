import type { Socket } from 'node:net';
import { specimens } from '../../../lib/specimens.ts';

/** A chunk holds a few full DATA frames, or the HEADERS of some hundred requests. */
const CHUNK = 64 * 1024;

/** Chunks kept for the next session that writes. */
const SPARE = 64;
const spare: Buffer[] = [];

const takeChunk = (size: number): Buffer => (size <= CHUNK ? (spare.pop() ?? Buffer.allocUnsafeSlow(CHUNK)) : Buffer.allocUnsafeSlow(size));

function giveChunk(chunk: Buffer): void {
  if (chunk.length === CHUNK && spare.length < SPARE) spare.push(chunk);
}

/** Outputs with something to write; they are flushed together, once per turn of the event loop. */
const dirty: Output[] = [];
let planned = false;

/** Writes what all sessions have gathered. Called by itself after each turn; a batch that knows its end may call it earlier. */
export function flushOutputs(): void {
  for (let i = 0; i < dirty.length; i++) (dirty[i] as Output).flush();
  dirty.length = 0;
}

function flushPlanned(): void {
  planned = false;
  flushOutputs();
}

/**
 * All bytes of one connection on their way to the socket, and the only way there.
 *
 *     append -> current chunk -> full -> write -> in flight -> spare
 *
 * What the socket was given of a chunk is the socket's until all that was written has left for the kernel (`writableLength` 0). Until then the chunk
 * is filled behind that.
 */
export class Output {
  private readonly socket: Socket;
  private readonly onFlush: () => void;
  private readonly onError: (e: unknown) => void;
  private chunk: Buffer | null = null;
  private used = 0;
  /** How much of the oldest chunk, `full[0]` or the current one, the socket was given already. */
  private from = 0;
  /** Chunks that are full, and how far. */
  private full: Buffer[] = [];
  private fullUsed: number[] = [];
  private flying: Buffer[] = [];
  private listed = false;
  private closed = false;
  /** The socket has taken all that it should for now: `drained` must be called on its 'drain'. */
  blocked = false;
  /** Bytes gathered since the last flush, and how many there were. */
  gathered = 0;
  flushes = 0;
  /** Whether `onFlush` wants to be called. */
  hooked = false;

  constructor(socket: Socket, onFlush: () => void, onError: (e: unknown) => void) {
    this.socket = socket;
    this.onFlush = onFlush;
    this.onError = onError;
  }

  /** A buffer with room for `size` bytes, to be written from `at` on; `commit` says how many were. */
  reserve(size: number): Buffer {
    let chunk = this.chunk;
    if (chunk !== null && chunk.length - this.used >= size) return chunk;
    if (chunk !== null) {
      this.full.push(chunk);
      this.fullUsed.push(this.used);
    }
    chunk = takeChunk(size);
    this.chunk = chunk;
    this.used = 0;
    return chunk;
  }

  /** Where the bytes of the last `reserve` go. */
  get at(): number {
    return this.used;
  }

  /** Room left in the current chunk. */
  get room(): number {
    return this.chunk === null ? CHUNK : this.chunk.length - this.used;
  }

  /** Whether the last bytes are those of this chunk before `at`. */
  endsAt(chunk: Buffer, at: number): boolean {
    return this.chunk === chunk && this.used === at;
  }

  /** The bytes up to `end` are there. */
  commit(end: number): void {
    this.gathered += end - this.used;
    this.used = end;
    if (this.listed) return;
    this.listed = true;
    dirty.push(this);
    if (planned) return;
    planned = true;
    specimens.immediate = setImmediate(flushPlanned);
  }

  /** Something is to be written at the end of this turn. */
  get waits(): boolean {
    return this.listed;
  }

  flush(): void {
    this.listed = false;
    if (this.blocked || this.closed || this.gathered === 0) return;
    try {
      if (this.hooked) {
        this.hooked = false;
        this.onFlush();
      }
      this.write();
    } catch (e) {
      this.onError(e);
    }
  }

  drained(): void {
    this.blocked = false;
    this.recycle();
    this.flush();
  }

  /** Nothing is written any more. */
  close(): void {
    this.closed = true;
    this.chunk = null;
    this.full = [];
    this.flying = [];
    this.gathered = 0;
  }

  private write(): void {
    const socket = this.socket;
    const chunk = this.chunk as Buffer;
    this.gathered = 0;
    this.flushes++;
    const several = this.full.length > 0;
    let { from } = this;
    if (several) socket.cork();
    for (let i = 0; i < this.full.length; i++) {
      const part = this.full[i] as Buffer;
      const end = this.fullUsed[i] as number;
      if (end > from) socket.write(part.subarray(from, end));
      from = 0;
      this.flying.push(part);
    }
    this.full.length = 0;
    this.fullUsed.length = 0;
    const taken = socket.write(this.used - from === chunk.length ? chunk : chunk.subarray(from, this.used));
    if (several) socket.uncork();
    if (socket.writableLength === 0) {
      // All of it is with the kernel: the chunk is ours again.
      this.used = 0;
      this.from = 0;
      this.recycle();
      return;
    }
    this.blocked = !taken;
    this.from = this.used;
  }

  private recycle(): void {
    if (this.flying.length === 0 || this.socket.writableLength > 0) return;
    for (const chunk of this.flying) giveChunk(chunk);
    this.flying.length = 0;
  }
}
