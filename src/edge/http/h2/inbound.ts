import { Fields } from '../fields.ts';
import { HpackDecoder } from '../hpack/decoder.ts';
import { ErrorCode, Flag, FrameType, FRAME_HEADER, Setting, STREAM_MOST, WINDOW_MOST, errorName } from './codes.ts';
import { CONNECTION_WINDOW } from './flow.ts';
import { readU16, readU31, readU32 } from './frames.ts';
import type { FrameSink } from './reader.ts';
import type { H2Session } from './session.ts';
import type { H2Stream } from './stream.ts';

/** SETTINGS_HEADER_TABLE_SIZE of ours: the initial one. */
export const TABLE = 4096;

/** WINDOW_UPDATEs that one DATA frame of ours may call forth: both windows, a kilobyte each. */
const CREDITS = 32;

/** A frame that makes us look at all open streams costs one more for so many of them. */
const STREAMS = 16;

/** What each frame of the backend means, and which ones must not come (RFC 9113 s5 and s6). */
export class Inbound implements FrameSink {
  private readonly session: H2Session;
  private readonly decoder: HpackDecoder;
  /** Of the block that was decoded last: lent to whoever is told of it. */
  private readonly pseudo = new Fields();
  private readonly fields = new Fields();
  private first = true;
  /** The id of the last GOAWAY (s6.8). */
  private goawayId = STREAM_MOST;

  /** The largest INITIAL_WINDOW_SIZE of the SETTINGS that are being read. */
  private widest = 0;

  /** The connection's receive window: what the peer may still send, and what was not given back. */
  private window = CONNECTION_WINDOW;
  private owed = 0;
  /** How many of our DATA frames have been taken into the budget. */
  private credited = 0;

  /** The DATA frame that is being read; its stream is null when that is gone. */
  private dataStream: H2Stream | null = null;
  private dataEnds = false;
  /** It is padded, and nothing but padding has come. */
  private bare = false;

  constructor(session: H2Session) {
    this.session = session;
    this.decoder = new HpackDecoder(TABLE, { bytes: session.options.headerBytes, count: session.options.headerCount });
  }

  onHeaderBlock(id: number, flags: number, buf: Uint8Array, start: number, end: number): void {
    if (this.refusedFirst(-1, 0)) return;
    const { session, decoder, pseudo, fields } = this;
    session.liveness.traffic();
    const stream = session.streams.get(id);
    if (stream === null && session.isIdle(id))
      return session.connectionError(ErrorCode.PROTOCOL_ERROR, `HEADERS on idle stream ${id} (s5.1)`);
    // Also for a stream that is gone: the tables of both sides must stay in step (s4.3).
    const known = decoder.recall(buf, start, end);
    if (known === null) {
      pseudo.clear();
      fields.clear();
      if (!decoder.decode(buf, start, end, pseudo, fields)) {
        return session.connectionError(ErrorCode.COMPRESSION_ERROR, 'a header block that does not decode (s4.3)');
      }
    }
    if (stream === null) return this.onGone(id, 'HEADERS', 1);
    this.earn(4);
    session.liveness.answeredOn(id);
    if (stream.closed) return;
    if (known === null) stream.onHeaders(decoder, pseudo, fields, (flags & Flag.END_STREAM) !== 0);
    else stream.onKnownHead(known, (flags & Flag.END_STREAM) !== 0);
  }

  onData(id: number, flags: number, length: number): void {
    if (this.refusedFirst(-1, 0)) return;
    const { session } = this;
    session.liveness.traffic();
    const stream = session.streams.get(id);
    this.dataStream = stream;
    this.dataEnds = (flags & Flag.END_STREAM) !== 0;
    this.bare = (flags & Flag.PADDED) !== 0;
    if (!this.receive(length)) return session.connectionError(ErrorCode.FLOW_CONTROL_ERROR, 'DATA beyond the connection’s window (s6.9)');
    if (stream === null) {
      if (session.isIdle(id)) return session.connectionError(ErrorCode.PROTOCOL_ERROR, `DATA on idle stream ${id} (s5.1)`);
      // By its bytes: a window of them may be on its way, in frames of any size.
      return this.onGone(id, 'DATA', length === 0 ? 1 : (FRAME_HEADER + length) / 1024);
    }
    if (length === 0 && !this.dataEnds) return this.spend(1, 'empty DATA');
    if (!this.bare) this.earn(2);
    if (!stream.window.receive(length)) {
      session.failStream(stream, ErrorCode.FLOW_CONTROL_ERROR, 'backend_protocol_error', 'DATA beyond the stream’s window (s6.9)');
    }
  }

  onDataBytes(buf: Uint8Array, start: number, end: number): void {
    const stream = this.dataStream;
    if (stream === null || stream.closed) return;
    if (this.bare) {
      this.bare = false;
      this.earn(2);
    }
    stream.onData(buf, start, end);
  }

  onDataEnd(): void {
    const stream = this.dataStream;
    this.dataStream = null;
    if (stream === null || stream.closed) return;
    if (this.dataEnds) stream.onEnd();
    else if (this.bare) this.onPadding(stream);
  }

  /** It serves nobody, but counts for flow control (s6.1): without bytes to hand on, nothing else would give it back. */
  private onPadding(stream: H2Stream): void {
    this.spend(1, 'DATA of padding alone');
    if (!stream.closed && stream.window.due) this.session.giveCredit(stream);
  }

  onFrame(type: number, flags: number, id: number, buf: Uint8Array, start: number, end: number): void {
    if (this.refusedFirst(type, flags)) return;
    switch (type) {
      case FrameType.WINDOW_UPDATE:
        return this.onWindowUpdate(id, readU31(buf, start));
      case FrameType.RST_STREAM:
        return this.onRstStream(id, readU32(buf, start));
      case FrameType.SETTINGS:
        return (flags & Flag.ACK) !== 0 ? this.onSettingsAck() : this.onSettings(buf, start, end);
      case FrameType.PING:
        return this.onPing((flags & Flag.ACK) !== 0, buf, start);
      case FrameType.GOAWAY:
        return this.onGoaway(readU31(buf, start), readU32(buf, start + 4));
      default:
        return this.onPriority(id, end - start);
    }
  }

  onUnknownFrame(type: number, length: number): void {
    if (!this.refusedFirst(-1, 0)) this.spend(1 + length / 1024, `frames of type ${type}`);
  }

  onFrameError(code: number, detail: string): void {
    this.session.connectionError(code, detail);
  }

  /** The first frame is SETTINGS, and no acknowledgement (s3.4). */
  private refusedFirst(type: number, flags: number): boolean {
    if (!this.first) return false;
    this.first = false;
    if (type === FrameType.SETTINGS && (flags & Flag.ACK) === 0) return false;
    this.session.connectionError(ErrorCode.PROTOCOL_ERROR, 'the first frame is not SETTINGS (s3.4)');
    return true;
  }

  private onSettingsAck(): void {
    this.spend(1, 'SETTINGS');
    if (!this.session.dead) this.session.liveness.acknowledged();
  }

  private onSettings(buf: Uint8Array, start: number, end: number): void {
    const { session } = this;
    this.spend(1 + (end - start) / 96, 'SETTINGS');
    const before = session.writer.initialWindow;
    this.widest = before;
    for (let at = start; at < end && !session.dead; at += 6) this.onSetting(readU16(buf, at), readU32(buf, at + 2));
    if (!session.dead) this.moveWindows(before);
    if (session.dead) return;
    session.writer.settingsAck();
    session.settingsSeen();
    session.writer.pump();
  }

  /** s6.5.2 */
  private onSetting(identifier: number, value: number): void {
    const { session } = this;
    switch (identifier) {
      case Setting.HEADER_TABLE_SIZE:
        return session.writer.setTableLimit(value);
      case Setting.ENABLE_PUSH:
        if (value !== 0) session.connectionError(ErrorCode.PROTOCOL_ERROR, 'ENABLE_PUSH from a server (s6.5.2)');
        return;
      case Setting.MAX_CONCURRENT_STREAMS:
        session.peerStreams = value;
        return;
      case Setting.INITIAL_WINDOW_SIZE:
        return this.onInitialWindow(value);
      case Setting.MAX_FRAME_SIZE:
        if (!session.writer.setFrameSize(value)) session.connectionError(ErrorCode.PROTOCOL_ERROR, `MAX_FRAME_SIZE ${value} (s6.5.2)`);
        return;
      default:
    }
  }

  private onInitialWindow(value: number): void {
    const { session } = this;
    if (value > WINDOW_MOST) return session.connectionError(ErrorCode.FLOW_CONTROL_ERROR, `INITIAL_WINDOW_SIZE ${value} (s6.5.2)`);
    session.writer.initialWindow = value;
    if (value > this.widest) this.widest = value;
  }

  /**
   * s6.9.2: the windows of open streams move along, and may become negative. Once for all that a frame says: it may say so thousands of times,
   * and there may be hundreds of streams.
   */
  private moveWindows(before: number): void {
    const { session } = this;
    const by = session.writer.initialWindow - before;
    const up = this.widest - before;
    if (by === 0 && up === 0) return;
    this.spend(session.streams.size / STREAMS, 'SETTINGS');
    if (session.dead) return;
    for (const stream of session.streams.all()) {
      if (stream.sendWindow + up > WINDOW_MOST) {
        return session.connectionError(ErrorCode.FLOW_CONTROL_ERROR, 'a stream’s window above 2^31-1 (s6.9.2)');
      }
      stream.sendWindow += by;
      session.writer.enqueue(stream);
    }
  }

  /** s6.9 */
  private onWindowUpdate(id: number, increment: number): void {
    const { session } = this;
    // Each DATA frame of ours may come back as credit for its stream and for the connection, in small pieces, much later.
    const sent = session.writer.dataFrames;
    session.budget.expect(CREDITS * (sent - this.credited));
    this.credited = sent;
    this.spend(1, 'WINDOW_UPDATE');
    if (session.dead) return;
    if (id === 0) {
      if (increment === 0) return session.connectionError(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0 (s6.9)');
      if (!session.writer.grow(increment))
        session.connectionError(ErrorCode.FLOW_CONTROL_ERROR, 'the connection’s window above 2^31-1 (s6.9.1)');
      return;
    }
    const stream = session.streams.get(id);
    if (stream === null) {
      if (session.isIdle(id)) session.connectionError(ErrorCode.PROTOCOL_ERROR, `WINDOW_UPDATE on idle stream ${id} (s5.1)`);
      return;
    }
    if (increment === 0) return session.failStream(stream, ErrorCode.PROTOCOL_ERROR, 'backend_protocol_error', 'WINDOW_UPDATE of 0 (s6.9)');
    stream.sendWindow += increment;
    if (stream.sendWindow > WINDOW_MOST) {
      return session.failStream(
        stream,
        ErrorCode.FLOW_CONTROL_ERROR,
        'backend_protocol_error',
        'the stream’s window above 2^31-1 (s6.9.1)',
      );
    }
    session.writer.enqueue(stream);
    session.writer.pump();
  }

  /** s6.4. A complete response has taken its stream out of the table already: what follows it changes nothing (s8.1). */
  private onRstStream(id: number, code: number): void {
    const { session } = this;
    const stream = session.streams.get(id);
    if (stream === null) {
      if (session.isIdle(id)) session.connectionError(ErrorCode.PROTOCOL_ERROR, `RST_STREAM on idle stream ${id} (s6.4)`);
      else this.spend(1, 'RST_STREAM');
      return;
    }
    this.leave(stream);
    if (code !== ErrorCode.NO_ERROR || !stream.endedByReset()) {
      const unseen = code === ErrorCode.REFUSED_STREAM && !stream.answered;
      stream.fail({ reason: 'backend_reset', unseen, detail: `RST_STREAM ${errorName(code)}` });
    }
    session.released();
  }

  private onPing(ack: boolean, buf: Uint8Array, at: number): void {
    this.spend(1, 'PING');
    if (this.session.dead) return;
    if (!ack) this.session.writer.ping(true, buf, at);
    else if (this.session.writer.isOurPing(buf, at)) this.session.liveness.ponged();
  }

  /** s6.8 */
  private onGoaway(lastId: number, code: number): void {
    const { session } = this;
    this.spend(1 + session.streams.size / STREAMS, 'GOAWAY');
    if (session.dead) return;
    if (lastId > this.goawayId) return session.connectionError(ErrorCode.PROTOCOL_ERROR, 'GOAWAY with a higher stream than before (s6.8)');
    this.goawayId = lastId;
    session.taken = Math.floor((lastId + 1) / 2);
    session.drain();
    const unseen: H2Stream[] = [];
    for (const stream of session.streams.all()) if (stream.id > lastId) unseen.push(stream);
    const detail = `GOAWAY ${errorName(code)}`;
    for (const stream of unseen) {
      if (stream.closed) continue;
      this.leave(stream);
      stream.fail({ reason: 'backend_closed', unseen: !stream.answered, detail });
    }
    session.closeWhenEmpty();
  }

  private onPriority(id: number, length: number): void {
    const { session } = this;
    this.spend(1, 'PRIORITY');
    if (length === 5 || session.dead) return;
    const stream = session.streams.get(id);
    if (stream === null) return;
    session.failStream(stream, ErrorCode.FRAME_SIZE_ERROR, 'backend_protocol_error', 'PRIORITY not of 5 bytes (s6.3)');
  }

  /** The peer says that it is done with it. What comes on it all the same is no error of the connection (s5.1, s6.8), nor anybody's. */
  private leave(stream: H2Stream): void {
    this.session.forget(stream);
    this.session.resets.add(stream.id, false, 0);
  }

  /** HEADERS or DATA on a stream that has ended. */
  private onGone(id: number, what: string, cost: number): void {
    if (this.session.resets.has(id)) this.spend(cost, `${what} on streams that were reset`);
    else this.session.connectionError(ErrorCode.STREAM_CLOSED, `${what} behind END_STREAM on stream ${id} (s5.1)`);
  }

  /** Takes flow-controlled bytes into the connection's window, and gives it back in large pieces. */
  private receive(length: number): boolean {
    this.window -= length;
    this.owed += length;
    if (this.window < 0) return false;
    if (this.owed * 2 >= CONNECTION_WINDOW) {
      this.session.writer.windowUpdate(0, this.owed);
      this.window += this.owed;
      this.owed = 0;
    }
    return true;
  }

  /** Not while the peer reads nothing of ours: what it asks for then piles up here (CVE-2019-9512). */
  private earn(n: number): void {
    const { budget, writer } = this.session;
    if (!writer.blocked) budget.earn(n);
  }

  private spend(n: number, what: string): void {
    const { session } = this;
    if (session.budget.spend(n, session.now)) session.connectionError(ErrorCode.ENHANCE_YOUR_CALM, `a flood of ${what} (s10.5)`);
  }
}
