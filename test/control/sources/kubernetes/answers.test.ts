import { describe, expect, test } from '@jest/globals';
import { cleanMessage, eventError, retryAfter, statusError } from '../../../../src/control/sources/kubernetes/answers.ts';

const status = (more: Record<string, unknown>): Record<string, unknown> => ({
  kind: 'Status',
  apiVersion: 'v1',
  status: 'Failure',
  ...more,
});

const KINDS = {
  invalid: [400, 406, 413, 415, 418, 422],
  unauthorized: [401],
  forbidden: [403],
  not_found: [404, 405],
  conflict: [409],
  gone: [410],
  throttled: [429],
  server: [500, 502, 503, 504, 301],
} as const;

test.each(Object.entries(KINDS))('%s is what these say', (kind, codes) => {
  const said = status({ message: 'm', reason: 'R' });
  for (const code of codes) expect(statusError(code, said)).toEqual({ kind, status: code, message: 'm', reason: 'R', retryAfterMs: null });
});

test('what is no Status object says no more than its code', () => {
  for (const body of [null, 'html', 7, [], {}, { message: 'not by the API server', reason: 'Expired' }])
    expect(statusError(502, body)).toEqual({ kind: 'server', status: 502, message: 'status 502', reason: '', retryAfterMs: null });
  expect(statusError(404, null).message).toBe('the API server does not know this kind');
});

test('Expired is gone, whatever the code', () => {
  expect(statusError(500, status({ reason: 'Expired' })).kind).toBe('gone');
});

test('ill-typed fields are as if they were absent', () => {
  const strange = status({ message: 7, reason: {}, details: { retryAfterSeconds: 'x', causes: [null, 7, { reason: 7 }] } });
  expect(statusError(500, strange)).toEqual({ kind: 'server', status: 500, message: 'status 500', reason: '', retryAfterMs: null });
});

test('a version that is too large is known by its cause', () => {
  const body = status({
    reason: 'Timeout',
    message: 'Too large',
    details: { causes: [{ reason: 'ResourceVersionTooLarge' }], retryAfterSeconds: 1 },
  });
  expect(statusError(504, body)).toMatchObject({ kind: 'server', reason: 'ResourceVersionTooLarge', retryAfterMs: 1000 });
});

test('of the two ways to say when, the header counts first', () => {
  const body = status({ details: { retryAfterSeconds: 5 } });
  expect(statusError(429, body, '2').retryAfterMs).toBe(2000);
  expect(statusError(429, body).retryAfterMs).toBe(5000);
  expect(statusError(429, null, '3').retryAfterMs).toBe(3000);
});

test.each<[unknown, number | null]>([
  ['0', 0],
  ['1', 1000],
  ['999999999', 86_400_000],
  ['1e9', null],
  ['-1', null],
  ['', null],
  ['Wed, 21 Oct 2015 07:28:00 GMT', null],
  [1.5, 1500],
  [Number.NaN, null],
  [-1, null],
  [undefined, null],
  [['1'], null],
])('Retry-After %j is %j ms', (value, expected) => {
  expect(retryAfter(value)).toBe(expected);
});

describe('messages', () => {
  test('have at most 1 kB, and no control characters', () => {
    const message = statusError(500, status({ message: `a\n\u001b[31m\u0000\u2028${'x'.repeat(10_000)}` })).message;
    expect(message).toHaveLength(1024);
    expect(message.startsWith('a\\u000a\\u001b[31m\\u0000\\u2028xxx')).toBe(true);
  });

  test('stay within the limit when every character is escaped', () => {
    expect(cleanMessage('\n'.repeat(5000))).toHaveLength(1024);
  });

  test('reasons are short', () => {
    expect(statusError(500, status({ reason: 'R'.repeat(1000) })).reason).toHaveLength(64);
  });
});

test.each<[unknown, string, number]>([
  [status({ code: 410, reason: 'Expired' }), 'gone', 410],
  [status({ code: 403 }), 'forbidden', 403],
  [status({ code: 200 }), 'server', 500],
  [status({ code: 4.5 }), 'server', 500],
  [status({ code: '410' }), 'server', 500],
  [null, 'server', 500],
  ['x', 'server', 500],
])('the object of an ERROR event: %j', (object, kind, code) => {
  expect(eventError(object)).toMatchObject({ kind, status: code });
});
