import type { Fields } from '../fields.ts';
import type { RequestHandler } from '../message.ts';
import type { QuicConn } from '../../quic/engine.ts';
import { fieldRoom, sectionRoom, writeFields, writeSectionPrefix, writeStatus } from '../qpack/encode.ts';
import type { Connection } from './connection.ts';
import { FRAME } from './frames.ts';
import { dataRoom, HEADERS_HEAD_ROOM, type OutboxOwner } from './outbox.ts';

/** The final head has not been sent yet. */
const HEAD = 0;
const BODY = 1;
/** FIN or RESET_STREAM is out: nothing can follow. */
const DONE = 2;

/** DATA of up to so many bytes is copied behind what is held; more goes to the engine from where it is. */
const COPY_BYTES = 16 * 1024;
/** From so many held bytes on, waiting for more is not worth it. */
const HELD_BYTES = 4 * 1024;

const EMPTY = new Uint8Array(0);
/** A DATA frame of no bytes. */
const EMPTY_DATA = Uint8Array.of(FRAME.DATA, 0);
const STATUS_ROOM = fieldRoom(':status', '000');

/** The answer's half of a request stream. */
export abstract class SendSide implements OutboxOwner {
  readonly id: number;
  readonly connection: Connection;
  protected readonly quic: QuicConn;
  protected handler: RequestHandler | null = null;
  protected sendState = HEAD;
  /** The engine is above its mark. */
  protected isBlocked = false;
  /** ... and the handler has been told so. */
  private isTold = false;
  private finNext = false;
  bytesOut = 0;

  constructor(connection: Connection, id: number) {
    this.connection = connection;
    this.quic = connection.quic;
    this.id = id;
  }

  get isSendDone(): boolean {
    return this.sendState === DONE;
  }

  inform(status: number, fields: Fields): void {
    if (this.sendState !== HEAD || status < 100 || status > 199 || status === 101) return;
    this.putHeaders(status, fields);
    this.connection.shared.schedule();
  }

  respond(status: number, fields: Fields, end: boolean): void {
    if (this.sendState !== HEAD) return;
    this.sendState = BODY;
    this.putHeaders(status, fields);
    if (end) this.finish();
    else this.connection.shared.schedule();
  }

  respondEncoded(frame: Uint8Array): void {
    if (this.sendState !== HEAD) return;
    this.sendState = BODY;
    const { shared } = this.connection;
    shared.outbox.claim(this, frame.length);
    shared.outbox.appendAll(frame);
    shared.schedule();
  }

  write(buf: Uint8Array, start: number, end: number): boolean {
    const n = end - start;
    if (this.sendState !== BODY || n <= 0) return this.tell();
    this.bytesOut += n;
    const { shared } = this.connection;
    const { outbox } = shared;
    const whole = n <= COPY_BYTES;
    outbox.claim(this, whole ? dataRoom(n) : dataRoom(n) - n);
    outbox.dataHead(n);
    if (whole) outbox.append(buf, start, end);
    if (whole && outbox.end < HELD_BYTES) {
      shared.schedule();
      return this.tell();
    }
    outbox.flush();
    if (!whole) this.put(buf, start, end, false);
    return this.tell();
  }

  end(trailers: Fields | null): void {
    if (this.sendState !== BODY) return;
    if (trailers !== null && trailers.length > 0) this.putSection(-1, trailers);
    this.finish();
  }

  /** The engine has room again. */
  onWritable(): void {
    if (!this.isBlocked) return;
    this.isBlocked = false;
    this.stopStall();
    if (!this.isTold) return;
    this.isTold = false;
    this.handler?.onResponseWritable();
  }

  flushHeld(buf: Uint8Array, end: number): void {
    this.put(buf, 0, end, this.finNext);
  }

  /** Nothing goes out any more, held bytes included. */
  protected silence(): void {
    this.sendState = DONE;
    const { outbox } = this.connection.shared;
    if (outbox.isOwnedBy(this)) outbox.release();
  }

  /** The answer is complete. */
  protected abstract onSendDone(): void;
  protected abstract startStall(): void;
  protected abstract stopStall(): void;

  private finish(): void {
    const { shared } = this.connection;
    this.finNext = true;
    if (shared.outbox.isOwnedBy(this)) shared.outbox.flush();
    else if (this.quic.losesBareEnds === true) this.put(EMPTY_DATA, 0, EMPTY_DATA.length, true);
    else this.put(EMPTY, 0, 0, true);
    this.sendState = DONE;
    shared.sent(this);
    this.onSendDone();
  }

  private putHeaders(status: number, fields: Fields): void {
    this.putSection(status, fields);
  }

  /** A HEADERS frame behind what is held; `status` below 0: trailers. */
  private putSection(status: number, fields: Fields): void {
    const { outbox } = this.connection.shared;
    const room = sectionRoom(fields) + STATUS_ROOM;
    outbox.claim(this, room + HEADERS_HEAD_ROOM);
    const { buf } = outbox;
    const sectionAt = outbox.beginHeaders(room);
    let at = writeSectionPrefix(buf, sectionAt);
    if (status >= 0) at = writeStatus(buf, at, status);
    outbox.endHeaders(sectionAt, writeFields(buf, at, fields));
  }

  private put(buf: Uint8Array, start: number, end: number, fin: boolean): void {
    if (this.quic.write(this.id, buf, start, end, fin) || fin || this.isBlocked) return;
    this.isBlocked = true;
    this.startStall();
  }

  private tell(): boolean {
    if (this.isBlocked) this.isTold = true;
    return !this.isBlocked;
  }

  /** After the turn in which the answer ended. */
  notifySent(): void {
    this.handler?.onResponseSent();
  }
}
