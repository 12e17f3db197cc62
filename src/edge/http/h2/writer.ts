import type { Socket } from 'node:net';
import type { Fields } from '../fields.ts';
import { HpackEncoder } from '../hpack/encoder.ts';
import type { ClientRequest } from '../message.ts';
import { Flag, FrameType, FRAME_HEADER, FRAME_SIZE, FRAME_SIZE_MOST, PREFACE, Setting, WINDOW, WINDOW_MOST } from './codes.ts';
import { CONNECTION_WINDOW, STREAM_WINDOW } from './flow.ts';
import {
  GOAWAY_SIZE,
  PING_SIZE,
  RST_STREAM_SIZE,
  WINDOW_UPDATE_SIZE,
  appendFrameHeader,
  appendGoaway,
  appendPing,
  appendRstStream,
  appendSettings,
  appendU32,
  appendWindowUpdate,
  readU32,
  settingsSize,
} from './frames.ts';
import { Output } from './output.ts';
import type { H2Stream } from './stream.ts';

/** More than this is handed to the socket within the turn, so that its backpressure is known. */
const FLUSH_AT = 256 * 1024;

/** A window that lets fewer bytes through than this is waited for, once it has been tried often in vain (CVE-2019-9511). */
const TINY = 256;
const TINY_FRAMES = 64;

/** A frame is cut short to fill a chunk when at least this much of it fits. */
const WORTH_FILLING = 2048;

/** Our PINGs: these four bytes, then a count. */
const PING_MARK = 0x53706b79;

/** Everything that a session sends, in order; the only producer of bytes on its socket. */
export class FrameWriter {
  /** The peer's SETTINGS_INITIAL_WINDOW_SIZE. */
  initialWindow = WINDOW;
  /** DATA frames sent so far. */
  dataFrames = 0;

  private readonly out: Output;
  private readonly encoder = new HpackEncoder();
  /** The connection's send window. */
  private window = WINDOW;
  private tinyLeft = TINY_FRAMES;
  private pings = 0;
  private readonly pingData = Buffer.alloc(8);

  /** Streams with bytes that wait, in turn. */
  private lineHead: H2Stream | null = null;
  private lineTail: H2Stream | null = null;

  /** The last DATA frame, while it has not left: its stream's end may still go into its flags. */
  private lastId = 0;
  private lastChunk: Buffer | null = null;
  private lastFlagsAt = 0;
  private lastLength = 0;
  private lastFlush = 0;

  constructor(socket: Socket, onFlush: () => void, onError: (e: unknown) => void) {
    this.out = new Output(socket, onFlush, onError);
  }

  get writing(): boolean {
    return this.out.waits;
  }

  /** The socket has taken all that it should for now. */
  get blocked(): boolean {
    return this.out.blocked;
  }

  /** `onFlush` is called before the next flush, once: what it writes leaves behind everything of this turn. */
  beforeFlush(): void {
    this.out.hooked = true;
  }

  /** s3.4; leaves at once. */
  preface(settings: readonly (readonly [number, number])[]): void {
    const pairs = [...settings.flat(), Setting.INITIAL_WINDOW_SIZE, STREAM_WINDOW];
    const buf = this.out.reserve(PREFACE.length + settingsSize(pairs) + WINDOW_UPDATE_SIZE);
    let at = this.out.at;
    at += buf.write(PREFACE, at, 'latin1');
    at = appendSettings(buf, at, 0, pairs);
    this.out.commit(appendWindowUpdate(buf, at, 0, CONNECTION_WINDOW - WINDOW));
    this.out.flush();
  }

  request(id: number, request: ClientRequest, end: boolean): void {
    const room = HpackEncoder.roomForRequest(request);
    const flags = end ? Flag.END_STREAM : 0;
    if (room > FRAME_SIZE) {
      const block = Buffer.allocUnsafe(room);
      return this.longBlock(id, flags, block, this.encoder.request(block, 0, request));
    }
    const buf = this.out.reserve(FRAME_HEADER + room);
    const at = this.out.at;
    this.block(id, flags, buf, at, this.encoder.request(buf, at + FRAME_HEADER, request));
  }

  private trailers(id: number, fields: Fields): void {
    const room = HpackEncoder.roomForFields(fields);
    if (room > FRAME_SIZE) {
      const block = Buffer.allocUnsafe(room);
      return this.longBlock(id, Flag.END_STREAM, block, this.encoder.trailers(block, 0, fields));
    }
    const buf = this.out.reserve(FRAME_HEADER + room);
    const at = this.out.at;
    this.block(id, Flag.END_STREAM, buf, at, this.encoder.trailers(buf, at + FRAME_HEADER, fields));
  }

  private block(id: number, flags: number, buf: Buffer, at: number, end: number): void {
    appendFrameHeader(buf, at, end - at - FRAME_HEADER, FrameType.HEADERS, flags | Flag.END_HEADERS, id);
    this.out.commit(end);
  }

  /** In as many frames as it takes (s6.10); nothing can come between them. */
  private longBlock(id: number, flags: number, block: Buffer, length: number): void {
    const frames = Math.max(1, Math.ceil(length / FRAME_SIZE));
    const buf = this.out.reserve(length + frames * FRAME_HEADER);
    let at = this.out.at;
    for (let i = 0; i < frames; i++) {
      const from = i * FRAME_SIZE;
      const to = Math.min(length, from + FRAME_SIZE);
      const last = i === frames - 1 ? Flag.END_HEADERS : 0;
      const type = i === 0 ? FrameType.HEADERS : FrameType.CONTINUATION;
      at = appendFrameHeader(buf, at, to - from, type, (i === 0 ? flags : 0) | last, id);
      at += block.copy(buf, at, from, to);
    }
    this.out.commit(at);
  }

  /** Sends what the windows allow and holds the rest. */
  data(stream: H2Stream, buf: Uint8Array, start: number, end: number): void {
    let at = start;
    if (stream.held === null || stream.held.size === 0) {
      at += this.extend(stream, buf, at, end);
      while (at < end) {
        const n = this.sendable(stream, end - at);
        if (n === 0) break;
        const out = this.out.reserve(FRAME_HEADER + n);
        out.set(at === 0 && n === buf.length ? buf : buf.subarray(at, at + n), this.out.at + FRAME_HEADER);
        this.dataFrame(stream, out, n);
        at += n;
      }
    }
    if (at < end) {
      stream.hold(buf, at, end);
      this.enqueue(stream);
    }
  }

  /**
   * Puts bytes into the frame that is the last thing written, while it has not left; returns how many. A client's DATA frames of one byte
   * would else be frames of ten to the backend, which may count them against a connection that others share.
   */
  private extend(stream: H2Stream, buf: Uint8Array, start: number, end: number): number {
    const chunk = this.lastChunk;
    if (this.lastId !== stream.id || chunk === null || this.lastFlush !== this.out.flushes || this.out.blocked) return 0;
    const at = this.lastFlagsAt + 5 + this.lastLength;
    if (!this.out.endsAt(chunk, at)) return 0;
    const n = Math.min(end - start, FRAME_SIZE - this.lastLength, chunk.length - at, stream.sendWindow, this.window);
    if (n <= 0) return 0;
    chunk.set(buf.subarray(start, start + n), at);
    this.lastLength += n;
    appendFrameHeader(chunk, this.lastFlagsAt - 4, this.lastLength, FrameType.DATA, 0, stream.id);
    stream.sendWindow -= n;
    this.window -= n;
    this.out.commit(at + n);
    if (this.out.gathered >= FLUSH_AT) this.out.flush();
    return n;
  }

  /** How many of `wanted` bytes may go into the next frame of the stream. */
  private sendable(stream: H2Stream, wanted: number): number {
    if (this.out.blocked) return 0;
    let n = Math.min(wanted, FRAME_SIZE, stream.sendWindow, this.window);
    if (n <= 0) return 0;
    if (n >= TINY) this.tinyLeft = TINY_FRAMES;
    else if (n < wanted) {
      if (this.tinyLeft > 0) this.tinyLeft--;
      else if (n < Math.min(TINY, this.initialWindow / 2)) return 0;
    }
    const room = this.out.room - FRAME_HEADER;
    if (room < n && room >= WORTH_FILLING) n = room;
    return n;
  }

  /** The header of a frame whose `n` bytes are in place. */
  private dataFrame(stream: H2Stream, out: Buffer, n: number): void {
    const at = this.out.at;
    appendFrameHeader(out, at, n, FrameType.DATA, 0, stream.id);
    stream.sendWindow -= n;
    this.window -= n;
    this.dataFrames++;
    this.lastId = stream.id;
    this.lastChunk = out;
    this.lastFlagsAt = at + 4;
    this.lastLength = n;
    this.out.commit(at + FRAME_HEADER + n);
    this.lastFlush = this.out.flushes;
    if (this.out.gathered >= FLUSH_AT) this.out.flush();
  }

  /** END_STREAM; nothing of the stream is held. */
  end(stream: H2Stream): void {
    stream.localEnded = true;
    if (stream.trailers !== null) return this.trailers(stream.id, stream.trailers);
    if (this.lastId === stream.id && this.lastFlush === this.out.flushes && this.lastChunk !== null) {
      this.lastChunk[this.lastFlagsAt] = Flag.END_STREAM;
      return;
    }
    const buf = this.out.reserve(FRAME_HEADER);
    this.out.commit(appendFrameHeader(buf, this.out.at, 0, FrameType.DATA, Flag.END_STREAM, stream.id));
  }

  /** Puts a stream with held bytes in line. */
  enqueue(stream: H2Stream): void {
    if (stream.inLine || stream.closed || stream.held === null || stream.held.size === 0) return;
    stream.inLine = true;
    stream.nextInLine = null;
    if (this.lineTail === null) this.lineHead = stream;
    else this.lineTail.nextInLine = stream;
    this.lineTail = stream;
  }

  /** Sends of the streams in line, a frame each in turn, until the connection or the line is at its end. */
  pump(): void {
    for (let stream = this.lineHead; stream !== null && !this.out.blocked; stream = this.lineHead) {
      const { held } = stream;
      const n = stream.closed || held === null ? 0 : this.sendable(stream, held.size);
      // Without room on the connection the line stands still. Without a window of its own, a stream leaves it.
      if (n === 0 && !stream.closed && this.window < stream.sendWindow) return;
      this.lineHead = stream.nextInLine;
      if (this.lineHead === null) this.lineTail = null;
      stream.inLine = false;
      stream.nextInLine = null;
      if (n === 0 || held === null) continue;
      const out = this.out.reserve(FRAME_HEADER + n);
      held.take(out, this.out.at + FRAME_HEADER, n);
      this.dataFrame(stream, out, n);
      if (held.size > 0) this.enqueue(stream);
      else if (stream.ending) this.end(stream);
      stream.sent();
    }
  }

  /** The connection's window; false when it is above its maximum. */
  grow(increment: number): boolean {
    this.window += increment;
    if (this.window > WINDOW_MOST) return false;
    this.pump();
    return true;
  }

  drained(): void {
    this.out.drained();
    this.pump();
  }

  setTableLimit(bytes: number): void {
    this.encoder.setPeerLimit(bytes);
  }

  /** SETTINGS_MAX_FRAME_SIZE: only checked, since no frame of ours is above the smallest one allowed. */
  setFrameSize(bytes: number): boolean {
    return bytes >= FRAME_SIZE && bytes <= FRAME_SIZE_MOST;
  }

  reset(id: number, code: number): void {
    const buf = this.out.reserve(RST_STREAM_SIZE);
    this.out.commit(appendRstStream(buf, this.out.at, id, code));
  }

  windowUpdate(id: number, increment: number): void {
    const buf = this.out.reserve(WINDOW_UPDATE_SIZE);
    this.out.commit(appendWindowUpdate(buf, this.out.at, id, increment));
  }

  /** Without a value: what we have announced stays as it is. */
  ourSettings(): void {
    const buf = this.out.reserve(FRAME_HEADER);
    this.out.commit(appendSettings(buf, this.out.at, 0, []));
  }

  settingsAck(): void {
    const buf = this.out.reserve(FRAME_HEADER);
    this.out.commit(appendFrameHeader(buf, this.out.at, 0, FrameType.SETTINGS, Flag.ACK, 0));
  }

  ping(ack: boolean, data: Uint8Array, from: number): void {
    const buf = this.out.reserve(PING_SIZE);
    this.out.commit(appendPing(buf, this.out.at, ack, data, from));
  }

  ourPing(): void {
    appendU32(this.pingData, appendU32(this.pingData, 0, PING_MARK), ++this.pings >>> 0);
    this.ping(false, this.pingData, 0);
  }

  /** Whether a PING's eight bytes are those of our last one. */
  isOurPing(buf: Uint8Array, at: number): boolean {
    return readU32(buf, at) === PING_MARK && readU32(buf, at + 4) === this.pings >>> 0;
  }

  /** The server opens no streams: the last one is 0. */
  goaway(code: number): void {
    const buf = this.out.reserve(GOAWAY_SIZE);
    this.out.commit(appendGoaway(buf, this.out.at, 0, code));
  }

  flush(): void {
    this.out.flush();
  }

  close(): void {
    this.out.close();
    this.lineHead = null;
    this.lineTail = null;
    this.lastChunk = null;
  }
}
