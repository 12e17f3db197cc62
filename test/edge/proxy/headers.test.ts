import { describe, expect, test } from '@jest/globals';
import { Cells } from '../../../src/contract/cells.ts';
import { Fields } from '../../../src/edge/http/fields.ts';
import { cleanRequest, cleanRequestTrailers, cleanResponse, cleanResponseTrailers, DropCounter } from '../../../src/edge/proxy/headers.ts';
import { neverOf } from '../../kit/never.ts';

const fieldsOf = (...names: string[]): Fields => {
  const f = new Fields();
  for (const name of names) f.add(name, name === 'te' ? 'trailers' : `v-${name}`, name === 'secret');
  return f;
};

const setup = () => {
  const cells = new Cells();
  const dropped = (): Record<string, number> => Object.fromEntries(cells.read().map((r) => [r.labels[0] as string, r.values[0] as number]));
  return { drops: new DropCounter(cells), dropped };
};

const IDENTITY = [
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-prefix',
  'x-forwarded-user',
  'forwarded',
  'x-real-ip',
  'x-request-id',
  'x-envoy-internal',
  'x-envoy-original-path',
  'true-client-ip',
  'x-original-url',
  'x-rewrite-url',
];
const CERTIFICATES = [
  'x-client-cert',
  'x-client-cert-dn',
  'client-cert',
  'client-cert-chain',
  'x-forwarded-client-cert',
  'x-forwarded-tls-client-cert',
  'ssl-client-cert',
  'ssl-client-verify',
  'x-ssl-client-s-dn',
];
const HOPS = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'host',
  'proxy-authorization',
];
const ORDINARY = [
  'accept',
  'x-tenant',
  'x-forwarder',
  'cookie',
  'authorization',
  'secret',
  'x-http-method-override',
  '__proto__',
  'constructor',
  'hasownproperty',
  'te',
  'expect',
  'early-data',
  'via',
];

describe('request', () => {
  test('M12: identity fields of an untrusted peer are dropped and counted, the rest keeps order, value and never-indexed', () => {
    const { drops, dropped } = setup();
    const f = fieldsOf(...IDENTITY, ...ORDINARY, ...CERTIFICATES, ...HOPS);
    cleanRequest(f, false, drops);
    expect(f.names).toEqual(ORDINARY);
    expect(f.values).toEqual(ORDINARY.map((n) => (n === 'te' ? 'trailers' : `v-${n}`)));
    expect(neverOf(f)).toEqual(ORDINARY.map((n) => n === 'secret'));
    expect(dropped()).toEqual({ forwarded: IDENTITY.length, client_certificate: CERTIFICATES.length, hop_by_hop: HOPS.length });
  });

  test('M12: a trusted peer may say who the client is, never what its certificate was', () => {
    const { drops } = setup();
    const f = fieldsOf(...IDENTITY, ...CERTIFICATES, ...HOPS);
    cleanRequest(f, true, drops);
    expect(f.names).toEqual(IDENTITY);
  });

  test('te is kept as `trailers` only', () => {
    const { drops, dropped } = setup();
    const f = new Fields();
    f.add('te', 'trailers, gzip');
    f.add('te', 'trailers');
    cleanRequest(f, false, drops);
    expect(f.values).toEqual(['trailers']);
    expect(dropped()).toEqual({ hop_by_hop: 1 });
  });
});

test('response: hop-by-hop and alt-svc go, the rest stays', () => {
  const { drops, dropped } = setup();
  const f = fieldsOf('content-type', 'alt-svc', 'connection', 'server', 'set-cookie', 'x-forwarded-host', 'transfer-encoding', 'secret');
  cleanResponse(200, f, drops);
  expect(f.names).toEqual(['content-type', 'server', 'set-cookie', 'x-forwarded-host', 'secret']);
  expect(neverOf(f)).toEqual([false, false, false, false, true]);
  expect(dropped()).toEqual({ alt_svc: 1, hop_by_hop: 2 });
});

test.each([
  [100, false],
  [103, false],
  [200, true],
  [204, false],
  [304, true],
])('response: %i has a content-length: %p (RFC 9110 s8.6)', (status, has) => {
  const { drops, dropped } = setup();
  const f = fieldsOf('link', 'content-length', 'secret');
  cleanResponse(status, f, drops);
  expect(f.names).toEqual(has ? ['link', 'content-length', 'secret'] : ['link', 'secret']);
  expect(dropped()).toEqual(has ? {} : { content_length: 1 });
});

describe('trailers', () => {
  const FORBIDDEN = [
    'content-length',
    'authorization',
    'te',
    'host',
    'transfer-encoding',
    'cookie',
    'cache-control',
    'via',
    'range',
    'if-match',
  ];

  test('M10: of a request: identity, framing, routing and authentication are dropped and counted', () => {
    const { drops, dropped } = setup();
    const out = cleanRequestTrailers(fieldsOf(...FORBIDDEN, ...IDENTITY, ...CERTIFICATES, 'grpc-status', 'x-checksum', 'secret'), drops);
    expect(out?.names).toEqual(['grpc-status', 'x-checksum', 'secret']);
    expect(neverOf(out as Fields)).toEqual([false, false, true]);
    expect(dropped()).toEqual({ trailer: FORBIDDEN.length + IDENTITY.length + CERTIFICATES.length });
  });

  test('M10: of a response', () => {
    const { drops, dropped } = setup();
    const out = cleanResponseTrailers(fieldsOf('set-cookie', 'location', 'alt-svc', 'connection', 'grpc-status', 'grpc-message'), drops);
    expect(out?.names).toEqual(['grpc-status', 'grpc-message']);
    expect(dropped()).toEqual({ trailer: 4 });
  });

  test('nothing left is no trailers at all', () => {
    const { drops } = setup();
    expect(cleanRequestTrailers(null, drops)).toBeNull();
    expect(cleanRequestTrailers(fieldsOf('authorization'), drops)).toBeNull();
    expect(cleanResponseTrailers(null, drops)).toBeNull();
    expect(cleanResponseTrailers(fieldsOf('set-cookie'), drops)).toBeNull();
  });
});
