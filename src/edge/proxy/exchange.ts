/**
 * One request and its answer: the two ends of the pipe and everything that may happen to either.
 *
 *     client            exchange                          backend
 *     head ----------> admit -> forward ---------------> open
 *     body ----------> kept while there is no stream --> write     false: client.pause  ... onRequestWritable: client.resume
 *     end  ------------------------------------------->  end
 *     write  <------------------------------------------ body      false: backend.pause ... onResponseWritable: backend.resume
 *     end, sent <--------------------------------------- end
 *
 * Events come in any order, and late ones after the end: each handler first asks whether its side is still open. Of the answer exactly one of
 * these is true at the end: sent (`onResponseSent`), aborted by us (RESET, never FIN) or abandoned by the client.
 */
import type { Reason } from '../../contract/reasons.ts';
import type { TimerOwner } from '../../lib/wheel.ts';
import type { Endpoint, Waiting } from '../backends/index.ts';
import type { Fields } from '../http/fields.ts';
import type { KnownHead } from '../http/known.ts';
import type {
  BackendFailure,
  ClientRequest,
  ClientStream,
  RequestAbort,
  RequestHandler,
  ResponseHandler,
  ServerStream,
} from '../http/message.ts';
import { Deadlines } from './deadlines.ts';
import { finish } from './finish.ts';
import { cleanRequestTrailers, cleanResponse, cleanResponseTrailers } from './headers.ts';
import { frameOf } from './knownhead.ts';
import type { Peer } from './peer.ts';
import { admit } from './pipeline.ts';
import { internalError, type Plant } from './plant.ts';
import { KEPT_BYTES, KeptBody, mayRetry } from './retry.ts';
import type { Destination, GroupView, ListenerView } from './view.ts';

const H3_INTERNAL_ERROR = 0x102;

/** Interim answers that one request may cause; a backend that sends more is broken. */
export const INFORMS_MAX = 32;

/** Of the answer's head. */
const NONE = 0;
/** It has no body by its nature and waits for the backend's end: a body that comes all the same must not pass for a complete answer. */
const HELD = 1;
const BEGUN = 2;
const ENDED = 3;

const ABORTS: Readonly<Record<RequestAbort, Reason>> = {
  reset: 'client_reset',
  stop: 'client_reset',
  stalled: 'client_idle',
  malformed: 'malformed_request',
  closed: 'client_closed',
  drained: 'draining',
};

export class Exchange implements RequestHandler, ResponseHandler, TimerOwner {
  readonly plant: Plant;
  readonly view: ListenerView;
  readonly peer: Peer;
  readonly stream: ServerStream;

  // Found by the pipeline.
  path = '';
  query = '';
  target = '';
  hash = -1;
  requestId = '';
  destination: Destination | null = null;
  groupView: GroupView | null = null;
  request: ClientRequest | null = null;

  // Of the request.
  private requestEnded = false;
  private requestTrailers: Fields | null = null;
  private received = 0;
  private kept: KeptBody | null = null;
  private clientPaused = false;
  private ignoring = false;

  // Of the attempt at a backend that is under way.
  endpoint: Endpoint | null = null;
  /** The last one that was tried: for the log. */
  tried: Endpoint | null = null;
  private attempts = 0;
  private waiting: Waiting | null = null;
  private backend: ClientStream | null = null;
  private openedWithEnd = false;
  private blocked = false;
  private backendPaused = false;
  private sentAt = 0;

  // Of the answer.
  private response: typeof NONE | typeof HELD | typeof BEGUN | typeof ENDED = NONE;
  private heldFields: Fields | null = null;
  private informs = 0;
  status = 0;
  reason: Reason = 'ok';
  backendMs = -1;
  finished = false;

  readonly deadlines: Deadlines;

  constructor(plant: Plant, view: ListenerView, peer: Peer, stream: ServerStream) {
    this.plant = plant;
    this.view = view;
    this.peer = peer;
    this.stream = stream;
    this.deadlines = new Deadlines(plant.wheel, this);
  }

  /** `rejection`: the head broke a limit; there is nothing to forward. */
  begin(end: boolean, rejection: Reason | null): void {
    try {
      this.requestEnded = end;
      this.view.counters.begun();
      this.peer.look(this.view, this.stream.head.authority);
      const refusal = rejection ?? admit(this);
      if (refusal !== null) this.answer(refusal);
      else this.forward();
    } catch (e) {
      this.fault('request', e);
    }
  }

  // The client's side.

  onRequestBody(buf: Uint8Array, start: number, end: number): void {
    if (this.finished || this.ignoring || end === start) return;
    try {
      this.takeBody(buf, start, end);
    } catch (e) {
      this.fault('request_body', e);
    }
  }

  onRequestEnd(trailers: Fields | null): void {
    if (this.finished || this.ignoring || this.requestEnded) return;
    try {
      this.requestEnded = true;
      this.requestTrailers = cleanRequestTrailers(trailers, this.plant.drops);
      if (this.backend !== null) this.backend.end(this.requestTrailers);
      this.replan();
    } catch (e) {
      this.fault('request_end', e);
    }
  }

  onRequestAbort(abort: RequestAbort, _code: number): void {
    if (this.finished) return;
    try {
      const reason = ABORTS[abort];
      this.cancelAttempt(reason);
      this.over(reason);
    } catch (e) {
      this.fault('request_abort', e);
    }
  }

  onResponseWritable(): void {
    if (this.finished || !this.backendPaused) return;
    try {
      this.backendPaused = false;
      this.replan();
      this.backend?.resume();
    } catch (e) {
      this.fault('response_writable', e);
    }
  }

  onResponseSent(): void {
    if (this.finished) return;
    try {
      this.over(this.reason);
    } catch (e) {
      this.fault('response_sent', e);
    }
  }

  // The backend's side.

  onRequestSent(stream: ClientStream): void {
    try {
      if (this.endpoint === null) stream.cancel();
      else this.opened(stream);
    } catch (e) {
      this.fault('request_sent', e);
    }
  }

  onInform(status: number, fields: Fields): void {
    if (this.endpoint === null || this.response !== NONE) return;
    try {
      if (++this.informs > INFORMS_MAX) {
        this.answer('malformed_response');
        return;
      }
      cleanResponse(status, fields, this.plant.drops);
      this.stream.inform(status, fields);
    } catch (e) {
      this.fault('inform', e);
    }
  }

  onResponse(status: number, fields: Fields): void {
    if (this.endpoint === null || this.response !== NONE) return;
    try {
      this.beginResponse(status, fields);
    } catch (e) {
      this.fault('response', e);
    }
  }

  onKnownResponse(known: KnownHead): void {
    if (this.endpoint === null || this.response !== NONE) return;
    try {
      this.beginKnownResponse(known);
    } catch (e) {
      this.fault('response', e);
    }
  }

  onResponseBody(buf: Uint8Array, start: number, end: number): void {
    if (this.endpoint === null || end === start) return;
    try {
      // RFC 9110 s6.4.1: no content, whatever comes.
      if (this.response !== BEGUN) {
        this.answer('malformed_response');
        return;
      }
      if (!this.stream.write(buf, start, end) && this.backend !== null && !this.backendPaused) {
        this.backendPaused = true;
        this.backend.pause();
      }
      if (this.response === BEGUN && !this.finished) this.windIdle();
    } catch (e) {
      this.fault('response_body', e);
    }
  }

  onResponseEnd(trailers: Fields | null): void {
    if (this.endpoint === null) return;
    try {
      this.endResponse(trailers);
    } catch (e) {
      this.fault('response_end', e);
    }
  }

  onResponseFailure(failure: BackendFailure): void {
    if (this.endpoint === null) return;
    try {
      const sent = this.backend !== null;
      this.closeAttempt(failure.reason);
      // One that waited for a connection in vain still has all of its body, and nothing to gain where it waited.
      const again = mayRetry(failure, this.attempts, sent ? this.received : 0) && (sent || this.hasElsewhere());
      if (this.response === NONE && again) {
        (this.destination as Destination).upstream.retries.count(failure.reason);
        this.forward();
      } else this.answer(failure.reason);
    } catch (e) {
      this.fault('response_failure', e);
    }
  }

  onRequestWritable(): void {
    if (this.endpoint === null || !this.blocked) return;
    try {
      this.blocked = false;
      this.resumeClient();
      this.replan();
    } catch (e) {
      this.fault('request_writable', e);
    }
  }

  onTimer(): void {
    if (this.finished) return;
    try {
      const reason = this.deadlines.expired();
      if (reason === 'body_timeout') this.view.counters.limit('bodyIdleTimeout');
      if (reason !== null) this.answer(reason);
    } catch (e) {
      this.fault('timer', e);
    }
  }

  // The request on its way.

  private forward(): void {
    const endpoint = this.pickEndpoint();
    if (endpoint === null) {
      this.answer('no_endpoint');
      return;
    }
    const attempt = ++this.attempts;
    this.endpoint = endpoint;
    this.tried = endpoint;
    endpoint.active++;
    this.openedWithEnd = this.requestEnded && this.kept === null && this.requestTrailers === null;
    const now = this.deadlines.now();
    const timeouts = (this.destination as Destination).upstream.part.timeouts;
    this.sentAt = now;
    if (attempt === 1) this.deadlines.limit(now, timeouts.requestMs);
    const waiting = endpoint.open(this.request as ClientRequest, this.openedWithEnd, this, timeouts.connectMs, attempt > 1);
    // Anything may have happened within the call.
    if (waiting === null || attempt !== this.attempts || this.endpoint !== endpoint || this.backend !== null) return;
    this.waiting = waiting;
    this.plan(now);
    if (this.plant.backends.pending > this.view.part.limits.pending) {
      this.view.counters.limit('pending');
      this.answer('limit_pending');
    }
  }

  /** The second choice. A second attempt goes elsewhere when there is an elsewhere. */
  private pickEndpoint(): Endpoint | null {
    const group = this.groupView?.group ?? null;
    if (group === null) return null;
    const hash = this.hash < 0 ? 0 : this.hash;
    return this.tried === null ? group.choose(hash) : group.elsewhere(this.tried, hash);
  }

  private hasElsewhere(): boolean {
    return this.tried !== null && this.groupView?.group?.hasOther(this.tried) === true;
  }

  private opened(stream: ClientStream): void {
    this.waiting = null;
    this.backend = stream;
    this.sentAt = this.deadlines.now();
    if (this.kept !== null) {
      this.blocked = !this.kept.writeTo(stream);
      if (this.received > KEPT_BYTES) this.kept = null;
    }
    // A stream may fail under our hands.
    if (this.backend !== stream) return;
    if (this.requestEnded) {
      if (!this.openedWithEnd) stream.end(this.requestTrailers);
    } else if (!this.blocked) this.resumeClient();
    this.plan(this.sentAt);
  }

  private takeBody(buf: Uint8Array, start: number, end: number): void {
    this.received += end - start;
    const limit = this.view.part.limits.requestBody;
    if (limit > 0 && this.received > limit) {
      this.view.counters.limit('requestBody');
      this.answer('body_too_large');
      return;
    }
    // Kept for as long as there is no stream to write to, or a second attempt could need it.
    if (this.backend === null || (this.response === NONE && this.received <= KEPT_BYTES)) {
      this.kept ??= new KeptBody();
      this.kept.add(buf, start, end);
    } else this.kept = null;
    const stream = this.backend;
    if (stream === null) {
      if (this.received >= KEPT_BYTES) this.pauseClient();
    } else if (!stream.write(buf, start, end) && this.backend === stream) {
      this.blocked = true;
      this.pauseClient();
    }
    this.replan();
  }

  private pauseClient(): void {
    if (this.clientPaused || this.finished) return;
    this.clientPaused = true;
    this.stream.pause();
  }

  private resumeClient(): void {
    if (!this.clientPaused) return;
    this.clientPaused = false;
    this.stream.resume();
  }

  // The answer on its way.

  private beginResponse(status: number, fields: Fields): void {
    if (status < 200 || status > 599) {
      this.answer('malformed_response');
      return;
    }
    const now = this.answered(status);
    cleanResponse(status, fields, this.plant.drops);
    this.plant.dates.complete(fields);
    this.plant.via.append(fields, this.plant.via.response);
    if (this.isBodiless(status)) {
      this.response = HELD;
      this.heldFields = fields.copy();
    } else {
      this.response = BEGUN;
      this.stream.respond(status, fields, false);
    }
    this.plan(now);
  }

  private beginKnownResponse(known: KnownHead): void {
    const { status } = known;
    const frame = frameOf(known, this.plant);
    if (frame.length === 0 || this.isBodiless(status)) {
      this.beginResponse(status, known.fields.copy());
      return;
    }
    const now = this.answered(status);
    this.response = BEGUN;
    this.stream.respondEncoded(frame);
    this.plan(now);
  }

  private isBodiless(status: number): boolean {
    return status === 204 || status === 304 || this.stream.head.method === 'HEAD';
  }

  /** The backend has answered; returns the time. */
  private answered(status: number): number {
    const now = this.deadlines.now();
    this.backendMs = now - this.sentAt;
    (this.groupView as GroupView).counters.answered(this.backendMs / 1000);
    this.kept = null;
    this.status = status;
    return now;
  }

  private endResponse(trailers: Fields | null): void {
    if (this.response === NONE) {
      this.answer('malformed_response');
      return;
    }
    const held = this.heldFields;
    const backend = this.backend;
    this.response = ENDED;
    this.closeAttempt('ok');
    if (held !== null) this.stream.respond(this.status, held, true);
    else this.stream.end(cleanResponseTrailers(trailers, this.plant.drops));
    // RFC 9114 s4.1, RFC 9113 s8.1: the answer is complete, nobody needs the rest of the request.
    if (!this.requestEnded) {
      this.ignoreRequest();
      backend?.cancel();
    }
    this.replan();
  }

  /** Ends the exchange with an answer of ours, or, once the backend's has begun, with a reset: half an answer must never look whole. */
  answer(reason: Reason): void {
    if (this.finished) return;
    this.cancelAttempt(reason);
    if (this.response === BEGUN || this.response === ENDED) {
      this.abort(reason);
      return;
    }
    this.response = ENDED;
    this.heldFields = null;
    this.kept = null;
    this.reason = reason;
    this.status = this.view.replies.send(this.stream, reason);
    if (!this.requestEnded) this.ignoreRequest();
    this.deadlines.stop();
  }

  private abort(reason: Reason): void {
    this.stream.reset(H3_INTERNAL_ERROR);
    this.over(reason);
  }

  private ignoreRequest(): void {
    this.ignoring = true;
    this.stream.ignoreRequest();
  }

  // The end.

  private cancelAttempt(reason: Reason): void {
    if (this.endpoint === null) return;
    const { waiting, backend } = this;
    this.closeAttempt(reason);
    waiting?.cancel();
    backend?.cancel();
  }

  /** Exactly once per attempt. */
  private closeAttempt(reason: Reason): void {
    const endpoint = this.endpoint;
    if (endpoint === null) return;
    endpoint.active--;
    this.endpoint = null;
    this.waiting = null;
    this.backend = null;
    this.blocked = false;
    (this.groupView as GroupView).counters.count(this.status, reason);
  }

  private over(reason: Reason): void {
    this.reason = reason;
    this.kept = null;
    this.heldFields = null;
    finish(this);
  }

  /** A defect of ours: this exchange ends, and nothing else. */
  private fault(where: string, error: unknown): void {
    internalError(this.plant, `exchange.${where}`, error);
    try {
      this.answer('internal');
    } catch (e) {
      internalError(this.plant, 'exchange.fault', e);
      this.endAnyhow();
    }
  }

  private endAnyhow(): void {
    try {
      this.stream.reset(H3_INTERNAL_ERROR);
      this.over('internal');
    } catch (e) {
      internalError(this.plant, 'exchange.end', e);
    }
  }

  // Time.

  /** What `plan` comes to while the body is on its way. */
  private windIdle(): void {
    const { idleMs } = (this.destination as Destination).upstream.part.timeouts;
    this.deadlines.windIdle(this.deadlines.now(), this.backendPaused ? 0 : idleMs);
  }

  private replan(): void {
    if (!this.finished) this.plan(this.response === ENDED ? 0 : this.deadlines.now());
  }

  private plan(now: number): void {
    if (this.response === ENDED) {
      this.deadlines.rest();
      return;
    }
    const { timeouts } = (this.destination as Destination).upstream.part;
    if (this.response !== NONE) {
      this.deadlines.wind(now, 0, this.backendPaused ? 0 : timeouts.idleMs, 0);
      return;
    }
    const waitsForBackend = this.requestEnded || this.blocked || this.backend === null;
    const waitsForClient = !this.requestEnded && !this.clientPaused;
    this.deadlines.wind(now, waitsForBackend ? timeouts.responseMs : 0, 0, waitsForClient ? this.view.part.limits.bodyIdleTimeoutMs : 0);
  }
}
