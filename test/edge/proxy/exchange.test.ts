import { describe, expect, test } from '@jest/globals';
import { KnownHead } from '../../../src/edge/http/known.ts';
import { INFORMS_MAX } from '../../../src/edge/proxy/exchange.ts';
import { fieldsOf, Rig, send } from './fakes.ts';

const KIB64 = 64 * 1024;

describe('forwarding', () => {
  test('a request without a body goes out at once and its answer comes back whole', () => {
    const rig = new Rig();
    const s = rig.request({ path: '/a?b=1', fields: [['accept', '*/*']] });
    expect(rig.requests.length).toBe(1);
    expect(rig.last.end0).toBe(true);
    expect(rig.last.request).toMatchObject({ method: 'GET', scheme: 'http', authority: 'api.example.com', path: '/a?b=1' });
    rig.last.respond(200, [['content-type', 'text/plain']], 'hello');
    expect(s.told).toEqual(['respond 200', 'write hello', 'end']);
    expect(s.heads[0]?.fields).toEqual({ 'content-type': 'text/plain', date: expect.any(String), via: '2 spooky-0a1b2c3d' });
    s.handler?.onResponseSent();
    expect(rig.counted('requests_total')).toEqual({ 'edge/public web/api 200 ok': 1 });
    expect(rig.counted('backend_requests_total')).toEqual({ 'web/api g0 200 ok': 1 });
    expect(rig.counted('requests_active')).toEqual({});
    expect(rig.active).toBe(0);
  });

  test('the scheme is the one that the backend is reached by', () => {
    const rig = new Rig({ groups: [{ weight: 1, protocol: 'H2' }] });
    rig.request();
    expect(rig.last.request.scheme).toBe('https');
  });

  test('bodies stream in both directions, with trailers', () => {
    const rig = new Rig();
    const s = rig.request({ method: 'POST' }, false);
    expect(rig.last.end0).toBe(false);
    send(s, 'ab');
    send(s, 'cd');
    expect(rig.last.body).toBe('abcd');
    rig.last.handler.onResponse(200, fieldsOf());
    rig.last.send('12');
    send(s, 'ef');
    s.handler?.onRequestEnd(
      fieldsOf([
        ['x-checksum', '9'],
        ['x-forwarded-for', '1.2.3.4'],
      ]),
    );
    expect(rig.last.body).toBe('abcdef');
    expect(rig.last.trailers).toEqual({ 'x-checksum': '9' });
    rig.last.send('34');
    rig.last.handler.onResponseEnd(
      fieldsOf([
        ['grpc-status', '0'],
        ['set-cookie', 'a=b'],
      ]),
    );
    expect(s.told).toEqual(['respond 200', 'write 12', 'write 34', 'end with trailers']);
    expect(s.trailers).toEqual({ 'grpc-status': '0' });
    expect(rig.counted('fields_dropped_total')).toEqual({ trailer: 2 });
  });

  test('a head that the backend repeats is passed on like any other, made once', () => {
    const rig = new Rig();
    const known = new KnownHead(
      200,
      2,
      fieldsOf([
        ['content-type', 'a/b'],
        ['content-length', '2'],
      ]),
    );
    const before = rig.request();
    rig.last.handler.onResponse(200, known.fields.copy());
    for (let i = 0; i < 2; i++) {
      const frame = known.frame;
      const s = rig.request();
      rig.last.handler.onKnownResponse(known);
      rig.last.send('ok');
      rig.last.handler.onResponseEnd(null);
      expect(s.told).toEqual(['respond 200', 'write ok', 'end']);
      expect(s.heads).toEqual(before.heads);
      expect(known.frame).toBe(frame ?? known.frame);
      expect(known.fields.length).toBe(2);
    }
    const head = rig.request({ method: 'HEAD' });
    rig.last.handler.onKnownResponse(known);
    rig.last.handler.onResponseEnd(null);
    expect(head.told).toEqual(['respond 200 end']);
    expect(head.heads).toEqual(before.heads);
  });

  test('what is dropped from a head that repeats is counted each time', () => {
    const rig = new Rig();
    const known = new KnownHead(
      200,
      -1,
      fieldsOf([
        ['alt-svc', 'h2=":443"'],
        ['x-a', 'b'],
      ]),
    );
    for (let i = 0; i < 3; i++) {
      const s = rig.request();
      rig.last.handler.onKnownResponse(known);
      rig.last.handler.onResponseEnd(null);
      expect(s.heads[0]?.fields).toEqual({ 'x-a': 'b', date: expect.any(String), via: expect.any(String) });
    }
    expect(rig.counted('fields_dropped_total')).toEqual({ alt_svc: 3 });
  });

  test('RFC 9110 s6.6.1: an answer without a date gets one; what came with its own keeps it', () => {
    const rig = new Rig();
    const known = new KnownHead(200, -1, fieldsOf([['x-a', 'b']]));
    const own = 'Sun, 06 Nov 1994 08:49:37 GMT';
    const dated = new KnownHead(200, -1, fieldsOf([['date', own]]));
    const dateOf = (answer: (r: Rig['last']) => void): string | undefined => {
      const s = rig.request();
      answer(rig.last);
      return s.heads[0]?.fields['date'];
    };
    for (let i = 0; i < 3; i++) {
      const now = new Date(rig.clock.wall()).toUTCString();
      expect(dateOf((r) => r.respond(200))).toBe(now);
      expect(dateOf((r) => r.respond(304))).toBe(now);
      expect(dateOf((r) => r.handler.onKnownResponse(known))).toBe(now);
      expect(dateOf((r) => r.handler.onKnownResponse(dated))).toBe(own);
      expect(dateOf((r) => r.respond(200, [['date', own]]))).toBe(own);
      rig.clock.advance(700);
    }
  });

  test('1xx are forwarded, 100 after expect too', () => {
    const rig = new Rig();
    const s = rig.request({ method: 'POST', fields: [['expect', '100-continue']] }, false);
    expect(rig.last.fields['expect']).toBe('100-continue');
    rig.last.handler.onInform(100, fieldsOf());
    rig.last.handler.onInform(
      103,
      fieldsOf([
        ['link', '</a>'],
        ['connection', 'x'],
      ]),
    );
    send(s, 'x');
    s.handler?.onRequestEnd(null);
    rig.last.respond(200);
    expect(s.told).toEqual(['inform 100', 'inform 103', 'respond 200', 'end']);
    expect(s.heads[1]?.fields).toEqual({ link: '</a>' });
  });

  test('H21: interim answers are bounded; beyond, the backend is broken', () => {
    const rig = new Rig();
    const s = rig.request();
    for (let i = 0; i < 10_000; i++) rig.last.handler.onInform(103, fieldsOf());
    expect(s.told.filter((t) => t === 'inform 103').length).toBe(INFORMS_MAX);
    expect(s.status).toBe(502);
    expect(rig.last.cancelled).toBe(true);
    expect(rig.counted('backend_requests_total')).toEqual({ 'web/api g0 0 malformed_response': 1 });
  });

  test('HEAD, 204 and 304 have no body', () => {
    for (const [method, status] of [
      ['HEAD', 200],
      ['GET', 204],
      ['GET', 304],
    ] as const) {
      const rig = new Rig();
      const s = rig.request({ method });
      rig.last.respond(status, [
        ['content-length', '5'],
        ['etag', 'x'],
      ]);
      expect(s.told).toEqual([`respond ${status} end`]);
      // RFC 9110 s8.6: of the others it says what a GET, or an answer to it, would have.
      expect(s.heads[0]?.fields['etag']).toBe('x');
      expect(s.heads[0]?.fields['content-length']).toBe(status === 204 ? undefined : '5');
    }
  });

  test('M14: a body where none may be is 502 and never forwarded', () => {
    for (const [method, status] of [
      ['HEAD', 200],
      ['GET', 204],
      ['GET', 304],
    ] as const) {
      const rig = new Rig();
      const s = rig.request({ method });
      rig.last.respond(status, [], 'smuggled');
      expect(s.status).toBe(502);
      expect(s.told.join()).not.toContain('smuggled');
      expect(rig.last.cancelled).toBe(true);
      expect(s.heads.length).toBe(1);
      s.handler?.onResponseSent();
      expect(rig.counted('requests_total')).toEqual({ 'edge/public web/api 502 malformed_response': 1 });
    }
  });

  test('M14: statuses that are none, and a body before the head', () => {
    for (const act of [
      (rig: Rig) => rig.last.handler.onResponse(101, fieldsOf()),
      (rig: Rig) => rig.last.handler.onResponse(600, fieldsOf()),
      (rig: Rig) => rig.last.handler.onResponse(0, fieldsOf()),
      (rig: Rig) => rig.last.send('x'),
      (rig: Rig) => rig.last.handler.onResponseEnd(null),
    ]) {
      const rig = new Rig();
      const s = rig.request();
      act(rig);
      expect(s.status).toBe(502);
      expect(s.told.join()).not.toContain('write x');
    }
  });

  test('M14: a failure after the answer began is a reset, never an end', () => {
    const rig = new Rig();
    const s = rig.request();
    rig.last.handler.onResponse(200, fieldsOf([['content-length', '10']]));
    rig.last.send('12345');
    rig.last.fail('backend_reset');
    expect(s.told).toEqual(['respond 200', 'write 12345', 'reset 102']);
    expect(rig.counted('requests_total')).toEqual({ 'edge/public web/api 200 backend_reset': 1 });
    expect(rig.counted('backend_requests_total')).toEqual({ 'web/api g0 200 backend_reset': 1 });
  });

  test('an early answer: the client hears that the rest is not needed, the backend that no more will come', () => {
    const rig = new Rig();
    const s = rig.request({ method: 'POST' }, false);
    send(s, 'abc');
    rig.last.respond(403, [], 'no');
    expect(s.told).toEqual(['respond 403', 'write no', 'end', 'ignore']);
    expect(rig.last.cancelled).toBe(true);
    send(s, 'late');
    s.handler?.onRequestEnd(null);
    expect(rig.last.body).toBe('abc');
    s.handler?.onResponseSent();
    expect(rig.counted('requests_total')).toEqual({ 'edge/public web/api 403 ok': 1 });
  });
});

describe('backpressure', () => {
  test('a backend that does not read stops the client, once', () => {
    const rig = new Rig();
    const s = rig.request({ method: 'POST' }, false);
    rig.last.full = true;
    send(s, 'a');
    send(s, 'b');
    expect(s.told).toEqual(['pause']);
    rig.last.full = false;
    rig.last.handler.onRequestWritable();
    rig.last.handler.onRequestWritable();
    expect(s.told).toEqual(['pause', 'resume']);
  });

  test('a client that does not read stops the backend, once', () => {
    const rig = new Rig();
    const s = rig.request();
    rig.last.handler.onResponse(200, fieldsOf());
    s.full = true;
    rig.last.send('a');
    rig.last.send('b');
    expect(rig.last.told).toEqual(['pause']);
    s.full = false;
    s.handler?.onResponseWritable();
    s.handler?.onResponseWritable();
    expect(rig.last.told).toEqual(['pause', 'resume']);
  });

  test('while there is no stream to the backend, at most 64 KiB are taken from the client', () => {
    const rig = new Rig({ slow: true });
    const s = rig.request({ method: 'POST' }, false);
    const chunk = 'x'.repeat(16 * 1024);
    for (let i = 0; i < 4; i++) send(s, chunk);
    expect(s.told).toEqual(['pause']);
    rig.ready();
    expect(rig.last.body.length).toBe(KIB64);
    expect(s.told).toEqual(['pause', 'resume']);
  });

  test('what was kept goes out before it is said that there is room', () => {
    const rig = new Rig({ slow: true });
    rig.onOpen = (b) => {
      b.full = true;
      return true;
    };
    const s = rig.request({ method: 'POST' }, false);
    send(s, 'x'.repeat(KIB64));
    rig.ready();
    expect(s.told).toEqual(['pause']);
    rig.last.handler.onRequestWritable();
    expect(s.told).toEqual(['pause', 'resume']);
  });
});

describe('cancellation', () => {
  test('a client that resets cancels the backend in the same turn', () => {
    for (const [abort, reason] of [
      ['reset', 'client_reset'],
      ['stop', 'client_reset'],
      ['stalled', 'client_idle'],
      ['closed', 'client_closed'],
      ['drained', 'draining'],
      ['malformed', 'malformed_request'],
    ] as const) {
      const rig = new Rig();
      const s = rig.request({ method: 'POST' }, false);
      s.handler?.onRequestAbort(abort, 0x10c);
      expect(rig.last.cancelled).toBe(true);
      expect(s.told).toEqual([]);
      expect(rig.counted('requests_total')).toEqual({ [`edge/public web/api 0 ${reason}`]: 1 });
      expect(rig.counted('backend_requests_total')).toEqual({ [`web/api g0 0 ${reason}`]: 1 });
      expect(rig.active).toBe(0);
    }
  });

  test('M1: malformed at its very end: nothing of it looks complete to the backend', () => {
    const rig = new Rig();
    const s = rig.request({ method: 'POST', contentLength: 5, fields: [['content-length', '5']] }, false);
    s.handler?.onRequestAbort('malformed', 0x10e);
    expect(rig.last.ended).toBe(false);
    expect(rig.last.cancelled).toBe(true);
  });

  test('a client that leaves while the request waits for a connection leaves nothing behind', () => {
    const rig = new Rig({ slow: true });
    const s = rig.request();
    expect(rig.backends.pending).toBe(1);
    s.handler?.onRequestAbort('reset', 0x10c);
    expect(rig.backends.pending).toBe(0);
    rig.ready();
    expect(rig.requests).toEqual([]);
  });

  test('a stream that opens after the client left is cancelled', () => {
    const rig = new Rig();
    rig.onOpen = () => false;
    const s = rig.request();
    s.handler?.onRequestAbort('reset', 0x10c);
    rig.last.handler.onRequestSent(rig.last);
    expect(rig.last.told).toEqual(['cancel']);
  });
});

describe('retry', () => {
  test('what the backend never saw goes elsewhere, once', () => {
    const rig = new Rig({ endpoints: 3 });
    const s = rig.request();
    const [first] = rig.requests;
    first?.fail('backend_reset', true);
    expect(rig.requests.length).toBe(2);
    expect(rig.last.endpoint).not.toBe(first?.endpoint);
    expect(rig.counted('backend_retries_total')).toEqual({ 'web/api backend_reset': 1 });
    rig.last.fail('backend_reset', true);
    expect(rig.requests.length).toBe(2);
    expect(s.status).toBe(502);
    expect(rig.counted('backend_requests_total')).toEqual({ 'web/api g0 0 backend_reset': 2 });
  });

  test('consistent hashing goes elsewhere too', () => {
    const rig = new Rig({ endpoints: 5, key: { type: 'Header', name: 'x-user' } });
    for (let i = 0; i < 20; i++) {
      rig.request({ fields: [['x-user', `u${i}`]] });
      const first = rig.last;
      first.fail('backend_reset', true);
      expect(rig.last).not.toBe(first);
      expect(rig.last.endpoint).not.toBe(first.endpoint);
      rig.last.respond(200);
    }
  });

  test('what the backend may have seen is not sent again', () => {
    const rig = new Rig({ endpoints: 3 });
    const s = rig.request();
    rig.last.fail('backend_reset', false);
    expect(rig.requests.length).toBe(1);
    expect(s.status).toBe(502);
  });

  test('a body of up to 64 KiB goes out again from its beginning, with its end and trailers', () => {
    const rig = new Rig({ endpoints: 2 });
    const s = rig.request({ method: 'POST' }, false);
    send(s, 'x'.repeat(KIB64 - 3));
    send(s, 'abc');
    s.handler?.onRequestEnd(fieldsOf([['x-t', '1']]));
    const [first] = rig.requests;
    first?.fail('backend_closed', true);
    expect(rig.last).not.toBe(first);
    expect(rig.last.body).toBe(first?.body);
    expect(rig.last.body.length).toBe(KIB64);
    expect(rig.last.trailers).toEqual({ 'x-t': '1' });
    rig.last.respond(200);
    expect(s.status).toBe(200);
  });

  test('the rest of a body follows what was sent again', () => {
    const rig = new Rig({ endpoints: 2 });
    const s = rig.request({ method: 'POST' }, false);
    send(s, 'abc');
    rig.last.fail('backend_reset', true);
    send(s, 'def');
    s.handler?.onRequestEnd(null);
    expect(rig.last.body).toBe('abcdef');
    expect(rig.last.ended).toBe(true);
  });

  test('one byte more than 64 KiB is not kept', () => {
    const rig = new Rig({ endpoints: 2 });
    const s = rig.request({ method: 'POST' }, false);
    send(s, 'x'.repeat(KIB64));
    send(s, 'y');
    rig.last.fail('backend_reset', true);
    expect(rig.requests.length).toBe(1);
    expect(s.status).toBe(502);
  });

  test('a stream that fails within a write is replayed whole', () => {
    const rig = new Rig({ endpoints: 2 });
    const s = rig.request({ method: 'POST' }, false);
    const first = rig.last;
    first.onWrite = () => first.fail('backend_reset', true);
    first.full = true;
    send(s, 'abc');
    expect(rig.last).not.toBe(first);
    expect(rig.last.body).toBe('abc');
    expect(s.told).toEqual([]);
  });

  test('a refused connection is tried elsewhere, then answered', () => {
    const rig = new Rig({ slow: true, endpoints: 2 });
    const s = rig.request();
    const first = rig.dials[0]?.target.port;
    rig.refuse();
    expect(rig.dials[0]?.target.port).not.toBe(first);
    rig.refuse();
    expect(s.status).toBe(502);
    expect(rig.counted('backend_requests_total')).toEqual({ 'web/api g0 0 connect_refused': 2 });
    expect(rig.backends.pending).toBe(0);
  });
});

describe('time', () => {
  test('response: no head after a complete request is 504', () => {
    const rig = new Rig({ timeouts: { responseMs: 500 } });
    const s = rig.request();
    rig.clock.advance(490);
    expect(s.told).toEqual([]);
    rig.clock.advance(30);
    expect(s.status).toBe(504);
    expect(rig.last.cancelled).toBe(true);
    s.handler?.onResponseSent();
    expect(rig.counted('requests_total')).toEqual({ 'edge/public web/api 504 response_timeout': 1 });
  });

  test('response: does not run while the client uploads, runs while the backend does not read', () => {
    const rig = new Rig({ timeouts: { responseMs: 500 } });
    const s = rig.request({ method: 'POST' }, false);
    for (let i = 0; i < 10; i++) {
      rig.clock.advance(400);
      send(s, 'x');
    }
    expect(s.told).toEqual([]);
    rig.last.full = true;
    send(s, 'x');
    rig.clock.advance(520);
    expect(s.status).toBe(504);
  });

  test('response: runs while the request waits for a connection', () => {
    const rig = new Rig({ slow: true, timeouts: { responseMs: 500 } });
    const s = rig.request();
    rig.clock.advance(520);
    expect(s.status).toBe(504);
    expect(rig.backends.pending).toBe(0);
  });

  test('idle: silence after the head is a reset; bytes put it off', () => {
    const rig = new Rig({ timeouts: { idleMs: 500 } });
    const s = rig.request();
    rig.last.handler.onResponse(200, fieldsOf());
    for (let i = 0; i < 5; i++) {
      rig.clock.advance(400);
      rig.last.send('x');
    }
    expect(s.told.at(-1)).toBe('write x');
    rig.clock.advance(520);
    expect(s.told.at(-1)).toBe('reset 102');
    expect(rig.last.cancelled).toBe(true);
    expect(rig.counted('requests_total')).toEqual({ 'edge/public web/api 200 idle_timeout': 1 });
  });

  test('idle: not while the client does not read', () => {
    const rig = new Rig({ timeouts: { idleMs: 500 } });
    const s = rig.request();
    rig.last.handler.onResponse(200, fieldsOf());
    s.full = true;
    rig.last.send('x');
    rig.clock.advance(5000);
    expect(s.told).toEqual(['respond 200', 'write x']);
    s.handler?.onResponseWritable();
    rig.clock.advance(520);
    expect(s.told.at(-1)).toBe('reset 102');
  });

  test('idle: an answer without a body that does not end is 504', () => {
    const rig = new Rig({ timeouts: { idleMs: 500 } });
    const s = rig.request({ method: 'HEAD' });
    rig.last.handler.onResponse(200, fieldsOf());
    rig.clock.advance(520);
    expect(s.told).toEqual(['respond 504 end']);
  });

  test('request: the whole exchange, before and after the head', () => {
    const before = new Rig({ timeouts: { requestMs: 500 } });
    const s = before.request();
    before.clock.advance(520);
    expect(s.status).toBe(504);
    s.handler?.onResponseSent();
    expect(before.counted('requests_total')).toEqual({ 'edge/public web/api 504 request_timeout': 1 });

    const after = new Rig({ timeouts: { requestMs: 500 } });
    const t = after.request();
    after.last.handler.onResponse(200, fieldsOf());
    for (let i = 0; i < 6; i++) {
      after.clock.advance(100);
      after.last.send('x');
    }
    expect(t.told.at(-1)).toBe('reset 102');
  });

  test('request: a client that reads on and on after the backend’s end; not an answer of our own', () => {
    const rig = new Rig({ timeouts: { requestMs: 500, idleMs: 100 } });
    const s = rig.request();
    rig.clock.advance(50);
    rig.last.respond(200, [], 'x');
    rig.clock.advance(400);
    expect(s.told.at(-1)).toBe('end');
    rig.clock.advance(70);
    expect(s.told.at(-1)).toBe('reset 102');
    expect(rig.counted('requests_total')).toEqual({ 'edge/public web/api 200 request_timeout': 1 });
    expect(rig.counted('backend_requests_total')).toEqual({ 'web/api g0 200 ok': 1 });

    const own = new Rig({ timeouts: { requestMs: 500, responseMs: 100 } });
    const t = own.request();
    own.clock.advance(2000);
    expect([t.status, t.told.at(-1)]).toEqual([504, 'end']);
  });

  test('bodyIdleTimeout: a client that stops uploading gets 408, counted', () => {
    const rig = new Rig({ limits: { bodyIdleTimeoutMs: 500 } });
    const s = rig.request({ method: 'POST' }, false);
    rig.clock.advance(400);
    send(s, 'x');
    rig.clock.advance(400);
    expect(s.told).toEqual([]);
    rig.clock.advance(120);
    expect(s.status).toBe(408);
    expect(s.told).toContain('ignore');
    expect(rig.last.cancelled).toBe(true);
    expect(rig.counted('limit_rejects_total')).toEqual({ 'edge/public bodyIdleTimeout': 1 });
  });

  test('bodyIdleTimeout: not once the response has begun, nor while we hold the client back', () => {
    const rig = new Rig({ limits: { bodyIdleTimeoutMs: 500 } });
    const s = rig.request({ method: 'POST' }, false);
    rig.last.handler.onResponse(200, fieldsOf());
    rig.clock.advance(5000);
    expect(s.told).toEqual(['respond 200']);

    const held = new Rig({ limits: { bodyIdleTimeoutMs: 500 } });
    const t = held.request({ method: 'POST' }, false);
    held.last.full = true;
    send(t, 'x');
    held.clock.advance(5000);
    expect(t.told).toEqual(['pause']);
  });

  test('after the end nothing is armed', () => {
    const rig = new Rig({ timeouts: { requestMs: 500 } });
    const s = rig.request();
    rig.last.respond(200);
    s.handler?.onResponseSent();
    rig.clock.advance(60_000);
    expect(s.told).toEqual(['respond 200', 'end']);
    expect(rig.counted('requests_total')).toEqual({ 'edge/public web/api 200 ok': 1 });
  });
});

describe('limits', () => {
  test('requestBody: by content-length, before a backend is bothered', () => {
    const rig = new Rig({ limits: { requestBody: 10 } });
    const s = rig.request({ method: 'POST', contentLength: 11 }, false);
    expect(s.status).toBe(413);
    expect(s.told.at(-1)).toBe('ignore');
    expect(rig.requests).toEqual([]);
    expect(rig.counted('limit_rejects_total')).toEqual({ 'edge/public requestBody': 1 });
    expect(rig.request({ method: 'POST', contentLength: 10 }, false).told).toEqual([]);
  });

  test('requestBody: by counting', () => {
    const rig = new Rig({ limits: { requestBody: 10 } });
    const s = rig.request({ method: 'POST' }, false);
    send(s, '1234567890');
    expect(s.told).toEqual([]);
    send(s, '1');
    expect(s.status).toBe(413);
    expect(rig.last.body).toBe('1234567890');
    expect(rig.last.cancelled).toBe(true);
    expect(rig.counted('limit_rejects_total')).toEqual({ 'edge/public requestBody': 1 });
  });

  test('requestBody: passed after the answer began is a reset', () => {
    const rig = new Rig({ limits: { requestBody: 10 } });
    const s = rig.request({ method: 'POST' }, false);
    rig.last.handler.onResponse(200, fieldsOf());
    send(s, '12345678901');
    expect(s.told).toEqual(['respond 200', 'reset 102']);
  });

  test('pending: what would wait beyond it gets 503 with retry-after', () => {
    const rig = new Rig({ slow: true, limits: { pending: 2 } });
    const waiting = [rig.request(), rig.request()];
    const s = rig.request();
    expect(s.status).toBe(503);
    expect(s.heads[0]?.fields['retry-after']).toBe('1');
    expect(rig.counted('limit_rejects_total')).toEqual({ 'edge/public pending': 1 });
    expect(rig.backends.pending).toBe(2);
    rig.ready();
    expect(rig.requests.length).toBe(2);
    expect(waiting.every((w) => w.told.length === 0)).toBe(true);
  });

  test('pending 0: only what need not wait', () => {
    const rig = new Rig({ slow: true, limits: { pending: 0 } });
    expect(rig.request().status).toBe(503);
    rig.ready();
    expect(rig.request().told).toEqual([]);
    expect(rig.requests.length).toBe(1);
  });
});

describe('late and odd events', () => {
  test('H18: every order of six events ends once, with one answer and nothing after its end', () => {
    const events = ['body', 'end', 'abort', 'response', 'responseEnd', 'failure'] as const;
    const orders: string[][] = [];
    const permute = (left: readonly string[], done: string[]): void => {
      if (left.length === 0) orders.push(done);
      for (const e of left)
        permute(
          left.filter((x) => x !== e),
          [...done, e],
        );
    };
    permute(events, []);
    expect(orders.length).toBe(720);
    for (const order of orders) {
      const rig = new Rig({ timeouts: { responseMs: 50, idleMs: 50, requestMs: 50 }, limits: { bodyIdleTimeoutMs: 50 } });
      const s = rig.request({ method: 'POST' }, false);
      const b = rig.last;
      for (const e of order) {
        if (e === 'body') send(s, 'x');
        if (e === 'end') s.handler?.onRequestEnd(null);
        if (e === 'abort') s.handler?.onRequestAbort('reset', 0x10c);
        if (e === 'response') b.handler.onResponse(200, fieldsOf());
        if (e === 'responseEnd') b.handler.onResponseEnd(null);
        if (e === 'failure') b.fail('backend_reset');
      }
      s.handler?.onResponseSent();
      s.handler?.onResponseWritable();
      b.handler.onRequestWritable();
      rig.clock.advance(100);
      const totals = Object.values(rig.counted('requests_total'));
      expect([order, totals]).toEqual([order, [1]]);
      expect([order, Object.values(rig.counted('backend_requests_total'))]).toEqual([order, [1]]);
      expect(rig.counted('requests_active')).toEqual({});
      expect(rig.counted('internal_errors_total')).toEqual({});
      expect(rig.active).toBe(0);
      const finals = s.told.filter((t) => t.startsWith('respond'));
      expect(finals.length).toBeLessThanOrEqual(1);
      const end = s.told.findIndex((t) => t === 'end' || t.startsWith('reset'));
      if (end >= 0) expect(s.told.slice(end + 1).filter((t) => t !== 'ignore')).toEqual([]);
    }
  });

  test('empty chunks do nothing', () => {
    const rig = new Rig();
    const s = rig.request({ method: 'POST' }, false);
    for (let i = 0; i < 1000; i++) send(s, '');
    expect(rig.last.told).toEqual([]);
    rig.last.handler.onResponse(200, fieldsOf());
    for (let i = 0; i < 1000; i++) rig.last.send('');
    expect(s.told).toEqual(['respond 200']);
  });
});

describe('exceptions', () => {
  test('before the answer began: 500 for this request, counted, logged, backend cancelled', () => {
    const rig = new Rig();
    const s = rig.request({ method: 'POST' }, false);
    rig.last.onWrite = () => {
      throw new Error('deep inside');
    };
    send(s, 'x');
    expect(s.status).toBe(500);
    expect(rig.last.cancelled).toBe(true);
    expect(rig.counted('internal_errors_total')).toEqual({ 'exchange.request_body': 1 });
    expect(rig.logged).toMatchObject([{ level: 'error', fields: { where: 'exchange.request_body' } }]);
    s.handler?.onResponseSent();
    expect(rig.counted('requests_total')).toEqual({ 'edge/public web/api 500 internal': 1 });
    expect(rig.request().told).toEqual([]);
  });

  test('in each callback: contained, counted, ended', () => {
    type Act = readonly [where: string, broken: string, act: (rig: Rig, s: import('./fakes.ts').FakeStream) => void];
    const begin = (rig: Rig): void => rig.last.handler.onResponse(200, fieldsOf());
    const acts: readonly Act[] = [
      ['exchange.response', 'respond', (rig) => begin(rig)],
      ['exchange.response_body', 'write', (rig) => (begin(rig), rig.last.send('x'))],
      ['exchange.response_end', 'end', (rig) => (begin(rig), rig.last.handler.onResponseEnd(null))],
      ['exchange.inform', 'inform', (rig) => rig.last.handler.onInform(103, fieldsOf())],
      ['exchange.response_failure', 'respond', (rig) => rig.last.fail('backend_reset')],
      ['exchange.timer', 'respond', (rig) => rig.clock.advance(60_000)],
    ];
    for (const [where, broken, act] of acts) {
      const rig = new Rig({ limits: { bodyIdleTimeoutMs: 100_000 } });
      const s = rig.request();
      s.broken.add(broken);
      act(rig, s);
      expect([where, Object.keys(rig.counted('internal_errors_total'))]).toEqual([where, expect.arrayContaining([where])]);
      expect([where, s.told.filter((t) => t.startsWith('reset')).length <= 1]).toEqual([where, true]);
      s.handler?.onResponseSent();
      expect([where, Object.values(rig.counted('requests_total'))]).toEqual([where, [1]]);
      expect(rig.counted('requests_active')).toEqual({});
      expect(rig.active).toBe(0);
    }
  });

  test('in the request itself, and when even the reset throws: nothing escapes', () => {
    const rig = new Rig();
    const s = rig.request({ method: 'CONNECT' }, true, null, (f) => {
      f.broken.add('respond');
      f.broken.add('reset');
    });
    expect(Object.keys(rig.counted('internal_errors_total'))).toEqual(['exchange.request', 'exchange.fault', 'exchange.end']);
    s.handler?.onRequestAbort('closed', 0);
    expect(rig.counted('requests_active')).toEqual({});
  });
});
