import type { Fields } from '../fields.ts';
import type { HpackDecoder } from '../hpack/decoder.ts';
import { KnownHead } from '../known.ts';
import type { BackendFailure, ClientStream, ResponseHandler } from '../message.ts';
import { ErrorCode } from './codes.ts';
import { ByteQueue, ReceiveWindow } from './flow.ts';
import { parseContentLength, parseStatus, PSEUDO_IN_TRAILERS, wrongHead, wrongTrailers } from './response.ts';
import type { H2Session } from './session.ts';

/** Body bytes held for a stream that may not send: above the first, `write` gives false; below the second, there is room again. */
const HELD_HIGH = 64 * 1024;
const HELD_LOW = 32 * 1024;

/** Where the response is. */
const HEAD = 0;
const BODY = 1;

const SECOND_HEADERS = 'a second HEADERS without END_STREAM (s8.1)';

/** One request and its response. Lives in the session's table until one side ends it; afterwards every call does nothing. */
export class H2Stream implements ClientStream {
  readonly session: H2Session;
  readonly id: number;
  readonly handler: ResponseHandler;
  closed = false;

  /** Towards the backend: what waits, whether the end was asked for, whether END_STREAM is out. */
  sendWindow: number;
  held: ByteQueue | null = null;
  ending = false;
  trailers: Fields | null = null;
  localEnded: boolean;
  /** In the session's line of streams that may send, and the next one in it. */
  inLine = false;
  nextInLine: H2Stream | null = null;
  private wantsRoom = false;

  /** From the backend: its END_STREAM has arrived. */
  remoteEnded = false;
  readonly window = new ReceiveWindow();
  private readonly head: boolean;
  private phase = HEAD;
  private bodiless = false;
  private informs = 0;
  private informBytes = 0;
  private expected = -1;
  private received = 0;

  constructor(session: H2Session, id: number, handler: ResponseHandler, method: string, ended: boolean, sendWindow: number) {
    this.session = session;
    this.id = id;
    this.handler = handler;
    this.head = method === 'HEAD';
    this.localEnded = ended;
    this.ending = ended;
    this.sendWindow = sendWindow;
  }

  // The request's side.

  write(buf: Uint8Array, start: number, end: number): boolean {
    if (this.closed || this.ending) return true;
    if (end > start) this.session.sendData(this, buf, start, end);
    if (this.held === null || this.held.size < HELD_HIGH) return true;
    this.wantsRoom = true;
    return false;
  }

  end(trailers: Fields | null): void {
    if (this.closed || this.ending) return;
    this.ending = true;
    this.trailers = trailers !== null && trailers.length > 0 ? trailers : null;
    if (this.held === null || this.held.size === 0) this.session.endRequest(this);
  }

  cancel(): void {
    if (this.closed) return;
    this.session.reset(this, ErrorCode.CANCEL);
  }

  pause(): void {
    this.window.pause(this.session.now());
  }

  resume(): void {
    this.window.resume(this.session.now());
    if (!this.closed && this.window.due) this.session.giveCredit(this);
  }

  /** Keeps bytes until they may leave. */
  hold(buf: Uint8Array, start: number, end: number): void {
    this.held ??= new ByteQueue();
    this.held.push(buf, start, end);
  }

  /** Some of what was held is on its way. */
  sent(): void {
    if (!this.wantsRoom || this.ending || this.held === null || this.held.size > HELD_LOW) return;
    this.wantsRoom = false;
    this.handler.onRequestWritable();
  }

  // The response's side, called by the session.

  onHeaders(decoder: HpackDecoder, pseudo: Fields, fields: Fields, end: boolean): void {
    this.remoteEnded = end;
    if (decoder.oversize) return this.session.oversized(this);
    if (this.phase === BODY) return this.onTrailers(decoder, pseudo, fields, end);
    const wrong = wrongHead(decoder, pseudo);
    if (wrong !== null) return this.malformed(wrong);
    const status = parseStatus(pseudo.values[0] as string);
    if (status < 200) return this.onInform(decoder.size, status, fields, end);
    const length = decoder.contentLengthAt < 0 ? -1 : parseContentLength(fields.values[decoder.contentLengthAt] as string);
    if (length < 0 && decoder.contentLengthAt >= 0) return this.malformed('content-length is no number (RFC 9110 s8.6)');
    if (decoder.repeats()) decoder.remember(new KnownHead(status, length, fields.copy()));
    const doubt = this.begin(status, length, end);
    if (doubt !== null) return this.malformed(doubt);
    this.handler.onResponse(status, fields);
    if (end) this.complete(null);
  }

  /** A head that was in order when it came before, to another stream. */
  onKnownHead(known: KnownHead, end: boolean): void {
    this.remoteEnded = end;
    // It has a :status.
    if (this.phase === BODY) return this.malformed(end ? PSEUDO_IN_TRAILERS : SECOND_HEADERS);
    const doubt = this.begin(known.status, known.contentLength, end);
    if (doubt !== null) return this.malformed(doubt);
    this.handler.onKnownResponse(known);
    if (end) this.complete(null);
  }

  /** A final head: what it says of the body. What is wrong with that, or null. */
  private begin(status: number, length: number, end: boolean): string | null {
    // What these say of a length is not about this message (RFC 9110 s8.6, s15.3.5, s15.4.5).
    this.bodiless = this.head || status === 204 || status === 304;
    if (status === 204 && length > 0) return '204 with a content-length';
    this.expected = this.bodiless ? -1 : length;
    this.phase = BODY;
    return end && this.expected > 0 ? `content-length ${this.expected}, body 0 (s8.1.1)` : null;
  }

  private onInform(bytes: number, status: number, fields: Fields, end: boolean): void {
    if (status === 101) return this.malformed('101 (s8.6)');
    if (end) return this.malformed('END_STREAM on an interim response (s8.1)');
    const { informs, headerBytes } = this.session.options;
    if (++this.informs > informs) return this.malformed(`more than ${informs} interim responses`);
    // A few bytes are a whole list out of the table (s10.5.1), and nobody holds these back for a client that does not read.
    this.informBytes += bytes;
    if (this.informBytes > headerBytes) return this.malformed(`interim responses of over ${headerBytes} bytes`);
    this.handler.onInform(status, fields);
  }

  private onTrailers(decoder: HpackDecoder, pseudo: Fields, fields: Fields, end: boolean): void {
    if (!end) return this.malformed(SECOND_HEADERS);
    const wrong = wrongTrailers(decoder, pseudo);
    if (wrong !== null) return this.malformed(wrong);
    this.complete(fields.length > 0 ? fields : null);
  }

  onData(buf: Uint8Array, start: number, end: number): void {
    if (this.phase === HEAD) return this.malformed('DATA before HEADERS (s8.1)');
    if (this.bodiless) return this.malformed('a body where none may be (s8.1.1)');
    this.received += end - start;
    if (this.expected >= 0 && this.received > this.expected)
      return this.malformed(`a body longer than content-length ${this.expected} (s8.1.1)`);
    this.handler.onResponseBody(buf, start, end);
    if (!this.closed && this.window.due) this.session.giveCredit(this);
  }

  /** END_STREAM on DATA. */
  onEnd(): void {
    this.remoteEnded = true;
    if (this.phase === HEAD) this.malformed('END_STREAM before HEADERS (s8.1)');
    else this.complete(null);
  }

  private complete(trailers: Fields | null): void {
    if (this.closed) return;
    if (this.expected >= 0 && this.received !== this.expected) {
      return this.malformed(`content-length ${this.expected}, body ${this.received} (s8.1.1)`);
    }
    this.session.completed(this);
    this.handler.onResponseEnd(trailers);
    this.session.released();
  }

  /**
   * RST_STREAM in the place of END_STREAM. nghttp2 keeps END_STREAM back while the stream has no window, and Node then ends an answer whose request it
   * did not read by RST_STREAM with NO_ERROR (s8.1): a body as long as the windows that we gave. All that it declared has come.
   */
  endedByReset(): boolean {
    if (this.phase !== BODY || this.expected < 0 || this.received !== this.expected) return false;
    this.handler.onResponseEnd(null);
    return true;
  }

  private malformed(detail: string): void {
    this.session.failStream(this, ErrorCode.PROTOCOL_ERROR, 'malformed_response', detail);
  }

  /** Whether anything of the final response was seen. */
  get answered(): boolean {
    return this.phase !== HEAD || this.informs > 0;
  }

  fail(failure: BackendFailure): void {
    this.handler.onResponseFailure(failure);
  }
}
