import { readVarint, varintLength } from '../../../lib/bytes/varint.ts';
import { DecoderStream, EncoderStream } from '../qpack/instructions.ts';
import { H3 } from './codes.ts';
import type { Connection } from './connection.ts';
import { ControlStream } from './control.ts';
import { UNI } from './frames.ts';

/** Streams whose type has not arrived; more, and the oldest is told to stop. */
const MAX_UNTYPED = 16;
/** Streams of unknown types that have been told to stop and have not ended. */
const MAX_IGNORED = 256;

const NONE = -1;

/** A stream type that has not arrived whole. */
class Untyped {
  readonly bytes = new Uint8Array(8);
  length = 0;
}

/** The client's unidirectional streams (RFC 9114 s6.2, RFC 9204 s4.2). */
export class UniStreams {
  private readonly connection: Connection;
  readonly control: ControlStream;
  private readonly encoder = new EncoderStream();
  private readonly decoder = new DecoderStream();
  /** Never set back: a critical stream exists once per connection. */
  private controlId = NONE;
  private encoderId = NONE;
  private decoderId = NONE;
  private readonly untyped = new Map<number, Untyped>();
  private readonly ignored = new Set<number>();

  constructor(connection: Connection) {
    this.connection = connection;
    this.control = new ControlStream(connection);
  }

  onData(id: number, buf: Uint8Array, start: number, end: number, fin: boolean): void {
    if (this.isCritical(id)) this.onCritical(id, buf, start, end, fin);
    else if (this.ignored.has(id)) {
      if (fin) this.ignored.delete(id);
    } else this.onUntyped(id, buf, start, end, fin);
  }

  onReset(id: number): void {
    // RFC 9114 s6.2.1, RFC 9204 s4.2.
    if (this.isCritical(id)) return this.connection.fail('H3_CLOSED_CRITICAL_STREAM', 'H6');
    this.untyped.delete(id);
    this.ignored.delete(id);
  }

  private isCritical(id: number): boolean {
    return id === this.controlId || id === this.encoderId || id === this.decoderId;
  }

  private onCritical(id: number, buf: Uint8Array, start: number, end: number, fin: boolean): void {
    const { connection } = this;
    if (id === this.controlId) this.control.push(buf, start, end);
    else if (id === this.encoderId) this.onInstructions(this.encoder, 'QPACK_ENCODER_STREAM_ERROR', buf, start, end);
    else this.onInstructions(this.decoder, 'QPACK_DECODER_STREAM_ERROR', buf, start, end);
    if (fin) connection.fail('H3_CLOSED_CRITICAL_STREAM', 'H6');
  }

  private onInstructions(
    stream: EncoderStream | DecoderStream,
    code: 'QPACK_ENCODER_STREAM_ERROR' | 'QPACK_DECODER_STREAM_ERROR',
    buf: Uint8Array,
    start: number,
    end: number,
  ): void {
    const { connection } = this;
    const rule = stream.push(buf, start, end);
    if (rule !== null) return connection.fail(code, rule);
    for (; stream.count > 0; stream.count--) if (!connection.budget.frame()) return connection.fail('H3_EXCESSIVE_LOAD', 'H11');
  }

  private onUntyped(id: number, buf: Uint8Array, start: number, end: number, fin: boolean): void {
    let held = this.untyped.get(id);
    let at = start;
    if (held === undefined) {
      if (at < end && at + varintLength(buf[at] as number) <= end) {
        return this.onType(id, readVarint(buf, at), buf, at + varintLength(buf[at] as number), end, fin);
      }
      if (fin) return;
      held = new Untyped();
      this.untyped.set(id, held);
      if (this.untyped.size > MAX_UNTYPED) this.stopOldest();
    }
    while (at < end) {
      held.bytes[held.length++] = buf[at++] as number;
      if (held.length < varintLength(held.bytes[0] as number)) continue;
      this.untyped.delete(id);
      return this.onType(id, readVarint(held.bytes, 0), buf, at, end, fin);
    }
    // s6.2: ended before its type was known; nothing is wrong with that.
    if (fin) this.untyped.delete(id);
  }

  /** The three that matter come with a type; whoever waits longest without one is the one to go. */
  private stopOldest(): void {
    for (const id of this.untyped.keys()) {
      this.untyped.delete(id);
      this.ignore(id, false);
      return;
    }
  }

  private onType(id: number, type: number, buf: Uint8Array, start: number, end: number, fin: boolean): void {
    const { connection } = this;
    switch (type) {
      case UNI.CONTROL:
        if (this.controlId !== NONE) return connection.fail('H3_STREAM_CREATION_ERROR', 'H5');
        this.controlId = id;
        return this.onCritical(id, buf, start, end, fin);
      case UNI.QPACK_ENCODER:
        if (this.encoderId !== NONE) return connection.fail('H3_STREAM_CREATION_ERROR', 'H5');
        this.encoderId = id;
        return this.onCritical(id, buf, start, end, fin);
      case UNI.QPACK_DECODER:
        if (this.decoderId !== NONE) return connection.fail('H3_STREAM_CREATION_ERROR', 'H5');
        this.decoderId = id;
        return this.onCritical(id, buf, start, end, fin);
      case UNI.PUSH:
        // s6.2.2: only servers push.
        return connection.fail('H3_STREAM_CREATION_ERROR', 'H7');
      default:
        // s6.2: nothing that we know; not an error of the connection.
        if (!connection.budget.frame()) return connection.fail('H3_EXCESSIVE_LOAD', 'H12');
        this.ignore(id, fin);
    }
  }

  private ignore(id: number, fin: boolean): void {
    if (fin) return;
    this.connection.quic.stop(id, H3.H3_STREAM_CREATION_ERROR);
    this.ignored.add(id);
    if (this.ignored.size <= MAX_IGNORED) return;
    for (const oldest of this.ignored) {
      this.ignored.delete(oldest);
      return;
    }
  }
}
