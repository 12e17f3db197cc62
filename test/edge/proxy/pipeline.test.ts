import { describe, expect, test } from '@jest/globals';
import { Peer } from '../../../src/edge/proxy/peer.ts';
import { Misdirection, NameTable } from '../../../src/edge/proxy/misdirected.ts';
import { REASONS, type Reason } from '../../../src/contract/reasons.ts';
import type { TlsId } from '../../../src/edge/quic/engine.ts';
import { Rig, type FakeStream, type RigOptions } from './fakes.ts';
import { neverOf } from '../../kit/never.ts';

const turn = (): Promise<void> => new Promise((done) => setImmediate(done));

type Head = Parameters<Rig['request']>[0];

describe('answers of our own', () => {
  const cases: readonly (readonly [reason: Reason, options: RigOptions, head: Head, rejection?: Reason])[] = [
    ['no_route', { match: { path: { type: 'Exact', value: '/x' } } }, {}],
    ['misdirected', {}, { authority: 'secret.example.com' }],
    ['no_endpoint', { endpoints: 0 }, {}],
    ['no_endpoint', { groups: [{ weight: 0 }] }, {}],
    ['reference_unresolved', { groups: [{ weight: 1, resolved: false }] }, {}],
    ['limit_pending', { slow: true, limits: { pending: 0 } }, {}],
    ['method_not_supported', {}, { method: 'CONNECT', path: '', scheme: '' }],
    ['loop', {}, { fields: [['via', '1.1 x, 3 spooky-0a1b2c3d']] }],
    ['malformed_request', {}, { path: '/a%2fb' }],
    ['malformed_request', {}, { authority: 'user@api.example.com' }],
    ['body_too_large', { limits: { requestBody: 1 } }, { contentLength: 2 }],
    ['headers_too_large', {}, {}, 'headers_too_large'],
    ['header_timeout', {}, { authority: '', path: '', method: '' }, 'header_timeout'],
  ];

  for (const [reason, options, head, rejection] of cases) {
    test(`${reason}: ${REASONS[reason].status}`, () => {
      const rig = new Rig(options);
      const s = rig.request(head, true, rejection ?? null);
      expect(s.status).toBe(REASONS[reason].status);
      const fields = s.heads[0]?.fields as Record<string, string>;
      const token = REASONS[reason].proxyStatus;
      expect(fields['proxy-status']).toBe(token === null ? 'spooky-0a1b2c3d' : `spooky-0a1b2c3d; error=${token}`);
      expect(fields['date']).toBe(new Date(rig.clock.wall()).toUTCString());
      expect(Object.keys(fields)).toEqual(expect.arrayContaining(['content-type', 'content-length', 'date', 'proxy-status']));
      expect(fields['retry-after']).toBe(reason === 'limit_pending' ? '1' : undefined);
      const body = s.told.find((t) => t.startsWith('write '))?.slice(6) ?? '';
      expect(body.length).toBe(Number(fields['content-length']));
      expect(body.trimEnd().split('\n').length).toBe(1);
      expect(JSON.stringify(s.heads) + body).not.toMatch(/web|e7001|127\.0\.0\.1|g0|public/);
      s.handler?.onResponseSent();
      expect(Object.keys(rig.counted('requests_total')).map((k) => k.split(' ').slice(-2))).toEqual([
        [String(REASONS[reason].status), reason],
      ]);
    });
  }

  test('proxyStatusDetails adds our reason', () => {
    const rig = new Rig({ listener: { proxyStatusDetails: true }, endpoints: 0 });
    expect(rig.request().heads[0]?.fields['proxy-status']).toBe('spooky-0a1b2c3d; error=destination_unavailable; details="no_endpoint"');
    expect(rig.request({}, true, 'header_timeout').heads[0]?.fields['proxy-status']).toBe('spooky-0a1b2c3d; details="header_timeout"');
  });

  test('to HEAD without a body, its length told', () => {
    const s = new Rig({ endpoints: 0 }).request({ method: 'HEAD' });
    expect(s.told).toEqual(['respond 503 end']);
    expect(s.heads[0]?.fields['content-length']).toBe('20');
  });

  test('failures of backends have their status', () => {
    for (const reason of [
      'connect_refused',
      'connect_timeout',
      'tls_failed',
      'backend_reset',
      'backend_protocol_error',
      'backend_closed',
      'backend_not_http2',
      'malformed_response',
    ] as const) {
      const rig = new Rig();
      const s = rig.request();
      rig.last.fail(reason);
      expect([reason, s.status]).toEqual([reason, REASONS[reason].status]);
      expect(s.heads[0]?.fields['proxy-status']).toContain(`error=${REASONS[reason].proxyStatus}`);
    }
  });
});

describe('what the backend is told', () => {
  const ours = (rig: Rig): Record<string, string> => {
    const { fields } = rig.last;
    return Object.fromEntries(
      Object.entries(fields).filter(([n]) => n.startsWith('x-forwarded-') || n === 'forwarded' || n === 'via' || n === 'x-request-id'),
    );
  };
  const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

  test('M12: what an untrusted client says of itself is replaced by ours', () => {
    const rig = new Rig({ listener: { advertisedPort: 443 } });
    rig.request({
      fields: [
        ['x-forwarded-for', '10.0.0.1'],
        ['x-forwarded-proto', 'http'],
        ['x-forwarded-host', 'evil.example'],
        ['x-forwarded-port', '1'],
        ['x-forwarded-prefix', '/admin'],
        ['forwarded', 'for=10.0.0.1'],
        ['x-request-id', 'mine'],
        ['x-real-ip', '10.0.0.1'],
        ['x-envoy-internal', 'true'],
        ['x-client-cert', 'cn=admin'],
      ],
    });
    expect(ours(rig)).toEqual({
      'x-forwarded-for': '203.0.113.9',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'api.example.com',
      'x-forwarded-port': '443',
      forwarded: 'for=203.0.113.9;host=api.example.com;proto=https',
      via: '3 spooky-0a1b2c3d',
      'x-request-id': expect.stringMatching(UUID),
    });
    expect(Object.keys(rig.last.fields)).not.toEqual(expect.arrayContaining(['x-real-ip']));
    expect(rig.last.fields['x-envoy-internal']).toBeUndefined();
    expect(rig.last.fields['x-client-cert']).toBeUndefined();
    expect(rig.counted('fields_dropped_total')).toEqual({ forwarded: 9, client_certificate: 1 });
  });

  test('M12: a trusted proxy is believed and appended to, never about certificates', () => {
    const rig = new Rig({ listener: { trust: ['203.0.113.0/24'] } });
    rig.request({
      fields: [
        ['x-forwarded-for', '198.51.100.1, 198.51.100.2'],
        ['x-forwarded-proto', 'http'],
        ['x-forwarded-host', 'shop.example'],
        ['forwarded', 'for=198.51.100.1'],
        ['x-request-id', 'theirs'],
        ['via', '1.1 front'],
        ['x-client-cert', 'cn=admin'],
      ],
    });
    expect(ours(rig)).toEqual({
      'x-forwarded-for': '198.51.100.1, 198.51.100.2, 203.0.113.9',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': 'shop.example',
      'x-forwarded-port': '443',
      forwarded: 'for=198.51.100.1, for=203.0.113.9;host=api.example.com;proto=https',
      via: '1.1 front, 3 spooky-0a1b2c3d',
      'x-request-id': 'theirs',
    });
    expect(rig.last.fields['x-client-cert']).toBeUndefined();
  });

  test('an over-long or empty request id is replaced even for a trusted peer', () => {
    const rig = new Rig({ listener: { trust: ['203.0.113.9'] } });
    for (const id of ['', 'x'.repeat(129)]) {
      rig.request({ fields: [['x-request-id', id]] });
      expect(rig.last.fields['x-request-id']).toMatch(UUID);
    }
  });

  test('forwarded quotes what is no token: ports and IPv6', () => {
    const rig = new Rig();
    rig.connection.remoteAddress = '2001:db8::9';
    rig.request({ authority: 'api.example.com:8443' });
    expect(rig.last.fields['forwarded']).toBe('for="[2001:db8::9]";host="api.example.com:8443";proto=https');
    expect(rig.last.fields['x-forwarded-for']).toBe('2001:db8::9');
    rig.request({ authority: '[2001:db8::7]' });
    expect(rig.last.fields['forwarded']).toBe('for="[2001:db8::9]";host="[2001:db8::7]";proto=https');
  });

  test('Q8: only the validated address counts, also when it changes between requests', () => {
    const rig = new Rig({ listener: { trust: ['203.0.113.9'] } });
    rig.request({ fields: [['x-forwarded-for', '1.1.1.1']] });
    expect(rig.last.fields['x-forwarded-for']).toBe('1.1.1.1, 203.0.113.9');
    rig.connection.remoteAddress = '198.51.100.77';
    rig.request({ fields: [['x-forwarded-for', '1.1.1.1']] });
    expect(rig.last.fields['x-forwarded-for']).toBe('198.51.100.77');
  });

  test('M8: one normalised authority, whatever its spelling', () => {
    const rig = new Rig();
    for (const authority of ['API.Example.COM', 'api.example.com.', 'api.example.com']) {
      rig.request({ authority });
      expect(rig.last.request.authority).toBe('api.example.com');
      expect(rig.last.fields['host']).toBeUndefined();
    }
    rig.request({ authority: 'API.example.com:444' });
    expect(rig.last.request.authority).toBe('api.example.com:444');
  });

  test('P11: never-indexed stays so', () => {
    const rig = new Rig();
    rig.request({ path: '/?token=secret', neverIndexed: true });
    expect(rig.last.request.neverIndexed).toBe(true);
    rig.request();
    expect(rig.last.request.neverIndexed).toBe(false);
    rig.request(
      {
        fields: [
          ['authorization', 'x'],
          ['x-forwarded-for', 'gone'],
          ['cookie', 'a=b'],
        ],
      },
      true,
      null,
      (s) => {
        s.head.fields.setNever(0);
        s.head.fields.setNever(2);
      },
    );
    const { fields } = rig.last.request;
    const never = neverOf(fields);
    const { names } = fields;
    expect(never[names.indexOf('authorization')]).toBe(true);
    expect(never[names.indexOf('cookie')]).toBe(true);
    expect(never[names.indexOf('via')]).toBe(false);
  });

  test('what a client may not say does not choose its route either', () => {
    const rig = new Rig({ match: { headers: [{ name: 'x-real-ip', type: 'Present', value: '' }] } });
    expect(rig.request({ fields: [['x-real-ip', '10.0.0.1']] }).status).toBe(404);
  });

  test('names that are members of every object are only names', () => {
    const rig = new Rig();
    const names = ['__proto__', 'constructor', 'tostring', 'hasownproperty'];
    rig.request({ fields: names.map((n) => [n, n] as const), path: '/?__proto__=1&constructor=2' });
    for (const n of names) expect(rig.last.request.fields.get(n)).toBe(n);
    expect(rig.last.request.path).toBe('/?__proto__=1&constructor=2');
  });
});

describe('M13: the target', () => {
  test('dot segments and needless escapes are gone before matching, and so in what is forwarded', () => {
    const rig = new Rig({ match: { path: { type: 'Prefix', value: '/public' } } });
    expect(rig.request({ path: '/public/%2e%2e/admin' }).status).toBe(404);
    rig.request({ path: '/x/../public/%61?q=%2F..' });
    expect(rig.last.request.path).toBe('/public/a?q=%2F..');
    rig.request({ path: '/public?' });
    expect(rig.last.request.path).toBe('/public?');
  });

  test('escaped separators: 400, or kept as they are', () => {
    for (const path of ['/a%2fb', '/a%2Fb', '/a%5cb', '/a\\b']) expect(new Rig().request({ path }).status).toBe(400);
    const rig = new Rig({ listener: { escapedSlashes: 'Keep' } });
    rig.request({ path: '/a%2fb' });
    expect(rig.last.request.path).toBe('/a%2Fb');
    expect(rig.request({ path: '/a%00b' }).status).toBe(400);
  });

  test('OPTIONS * goes through as it is', () => {
    const rig = new Rig();
    rig.request({ method: 'OPTIONS', path: '*' });
    expect(rig.last.request).toMatchObject({ method: 'OPTIONS', path: '*' });
  });
});

test('RFC 9110 s7.6.2: max-forwards counts the hops of OPTIONS and TRACE, and of nothing else', () => {
  const rig = new Rig();
  const left = (method: string, value: string): string | undefined => {
    rig.request({ method, fields: [['max-forwards', value]] });
    return rig.last.fields['max-forwards'];
  };
  expect(['OPTIONS', 'TRACE'].map((method) => [left(method, '10'), left(method, '1'), left(method, 'x'), left(method, '')])).toEqual([
    ['9', '0', 'x', ''],
    ['9', '0', 'x', ''],
  ]);
  expect(left('GET', '0')).toBe('0');
  const asked = rig.requests.length;
  for (const method of ['OPTIONS', 'TRACE']) expect(rig.request({ method, fields: [['max-forwards', '0']] }).status).toBe(501);
  expect(rig.requests.length).toBe(asked);
});

describe('421', () => {
  const ask = (rig: Rig, sni: string | null, authority: string): number => {
    rig.connection.sni = sni;
    rig.connection.data = new Peer(rig.connection, new Misdirection(new NameTable(rig.view.tls), 1 as TlsId, sni));
    return rig.request({ authority }).status;
  };

  test('only hosts that the certificate’s name would have been chosen for', () => {
    expect(ask(new Rig(), 'api.example.com', 'secret.example.com')).toBe(421);
    expect(ask(new Rig(), 'api.example.com', 'other.example.com')).toBe(0);
    expect(ask(new Rig({ fallback: false }), 'api.example.com', 'other.example.com')).toBe(421);
    expect(ask(new Rig({ fallback: false }), 'api.example.com', 'api.example.com')).toBe(0);
  });

  test('a default connection is exempt', () => {
    expect(ask(new Rig(), null, 'secret.example.com')).toBe(404);
    expect(ask(new Rig(), 'unknown.test', 'other.example.com')).toBe(0);
  });
});

describe('choices', () => {
  test('groups by weight', () => {
    const rig = new Rig({ groups: [{ weight: 9 }, { weight: 1 }] });
    for (let i = 0; i < 100; i++) rig.request();
    expect(rig.requests.filter((r) => r.endpoint.endsWith(':7002')).length).toBe(10);
  });

  test('an empty group keeps its share and answers 503, an unresolved one 500', () => {
    const rig = new Rig({ groups: [{ weight: 1 }, { weight: 1, endpoints: 0 }, { weight: 2, resolved: false }] });
    const statuses = Array.from({ length: 40 }, () => rig.request().status);
    expect(statuses.filter((s) => s === 0).length).toBe(10);
    expect(statuses.filter((s) => s === 503).length).toBe(10);
    expect(statuses.filter((s) => s === 500).length).toBe(20);
  });

  const spread = (rig: Rig, ask: (i: number) => Head, n = 60): string[] => {
    const seen = [];
    for (let i = 0; i < n; i++) {
      rig.request(ask(i));
      seen.push(rig.last.endpoint);
      rig.last.respond(200);
    }
    return seen;
  };

  const keys: readonly (readonly [RigOptions['key'], (value: string) => Head])[] = [
    [{ type: 'Header', name: 'x-user' }, (v) => ({ fields: [['x-user', v]] })],
    [{ type: 'Cookie', name: 'sid' }, (v) => ({ fields: [['cookie', `sidx=1; sid=${v}; b=2`]] })],
    [{ type: 'Query', name: 'u' }, (v) => ({ path: `/?ux=1&u=${v}&b=2` })],
    [{ type: 'Path' }, (v) => ({ path: `/${v}` })],
  ];
  for (const [key, ask] of keys) {
    test(`ConsistentHash by ${key?.type}: a key keeps its endpoint, keys spread`, () => {
      const rig = new Rig({ endpoints: 5, key: key as NonNullable<RigOptions['key']> });
      expect(new Set(spread(rig, () => ask('same'))).size).toBe(1);
      expect(new Set(spread(rig, (i) => ask(`k${i}`))).size).toBe(5);
      // Without its key a request is placed by its source address.
      expect(new Set(spread(rig, () => ({}))).size).toBe(1);
    });
  }

  test('ConsistentHash by Authority and SourceAddress', () => {
    const authority = new Rig({ endpoints: 5, key: { type: 'Authority' } });
    expect(new Set(spread(authority, () => ({ authority: 'api.example.com:1' }))).size).toBe(1);
    expect(new Set(spread(authority, (i) => ({ authority: `api.example.com:${i + 1}` }))).size).toBe(5);
    const source = new Rig({ endpoints: 5, key: { type: 'SourceAddress' } });
    expect(new Set(spread(source, () => ({}))).size).toBe(1);
    const many = spread(source, (i) => {
      source.connection.remoteAddress = `203.0.113.${i}`;
      return {};
    });
    expect(new Set(many).size).toBe(5);
  });

  test('ConsistentHash keeps a key on its side of a canary', () => {
    const rig = new Rig({ groups: [{ weight: 1 }, { weight: 1 }], key: { type: 'Header', name: 'x-user' } });
    expect(new Set(spread(rig, () => ({ fields: [['x-user', 'anna']] }))).size).toBe(1);
    expect(new Set(spread(rig, (i) => ({ fields: [['x-user', `u${i}`]] }))).size).toBe(2);
  });

  test('panic: with no healthy endpoint all are used, and counted', () => {
    const rig = new Rig({ endpoints: 2 });
    rig.backends.setEndpoints({
      group: 'g0' as never,
      sequence: 2,
      list: [7001, 7002].map((port) => ({
        address: '127.0.0.1',
        port,
        host: '127.0.0.1',
        label: `e${port}`,
        weight: 100,
        healthy: false,
        draining: false,
      })),
    });
    for (let i = 0; i < 10; i++) rig.request();
    expect(new Set(rig.requests.map((r) => r.endpoint)).size).toBe(2);
    expect(rig.counted('panic_total')).toEqual({ 'web/api': 10 });
  });
});

describe('access log', () => {
  const lineOf = async (rig: Rig, s: FakeStream): Promise<Record<string, unknown>> => {
    s.handler?.onResponseSent();
    await turn();
    return JSON.parse(rig.lines.at(-1) as string) as Record<string, unknown>;
  };

  test('one object with every member', async () => {
    const rig = new Rig();
    const s = rig.request({ path: '/a?b', fields: [['user-agent', 'test/1']] });
    rig.clock.advance(5);
    rig.last.handler.onResponse(200, rig.last.request.fields);
    rig.clock.advance(2.5);
    rig.last.send('hello');
    rig.last.handler.onResponseEnd(null);
    const line = await lineOf(rig, s);
    expect(line).toEqual({
      time: new Date(rig.clock.wall()).toISOString(),
      listener: 'edge/public',
      upstream: 'web/api',
      backend: 'g0',
      endpoint: 'e7001',
      client: '203.0.113.9',
      method: 'GET',
      authority: 'api.example.com',
      path: '/a?b',
      protocol: 'HTTP/3',
      status: 200,
      reason: 'ok',
      bytes_in: 0,
      bytes_out: 5,
      duration_ms: 7.5,
      backend_ms: 5,
      request_id: rig.last.fields['x-request-id'],
      user_agent: 'test/1',
      tls_version: 'TLSv1.3',
      quic: { rtt_ms: 7.25, lost: 2, early_data: false },
    });
  });

  test('control characters are escaped, long values cut, what is absent is null', async () => {
    const rig = new Rig();
    const s = rig.request({ authority: 'bad\u0007\n', path: `/${'x'.repeat(5000)}`, fields: [['user-agent', 'a\u001b[2Jb']] });
    expect(s.status).toBe(400);
    const line = await lineOf(rig, s);
    expect(rig.lines.length).toBe(1);
    expect(line).toMatchObject({
      upstream: null,
      backend: null,
      endpoint: null,
      backend_ms: null,
      request_id: expect.stringMatching(/^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/),
      user_agent: 'a\u001b[2Jb',
      authority: 'bad\u0007\n',
    });
    expect((line['path'] as string).length).toBe(1024);
    expect(/^[\x20-\x7e]*$/.test(rig.lines[0] as string)).toBe(true);
  });

  test('errors: what went well is not written', async () => {
    const rig = new Rig({ accessLog: 'errors' });
    const good = rig.request();
    rig.last.respond(404);
    good.handler?.onResponseSent();
    await turn();
    expect(rig.lines).toEqual([]);
    const bad = rig.request({ path: '/%2f' });
    expect(await lineOf(rig, bad)).toMatchObject({ status: 400, reason: 'malformed_request' });
  });

  test('off', async () => {
    const rig = new Rig({ accessLog: 'off' });
    rig.request({ path: '/%2f' }).handler?.onResponseSent();
    await turn();
    expect(rig.lines).toEqual([]);
  });
});

test('durations are counted, with the backend’s part', () => {
  const rig = new Rig();
  const s = rig.request();
  rig.clock.advance(200);
  rig.last.respond(200);
  rig.clock.advance(100);
  s.handler?.onResponseSent();
  const sum = (metric: string): number | undefined =>
    rig.cells
      .read()
      .find((r) => r.metric === metric && r.values.some((v) => v > 0))
      ?.values.at(-1);
  expect(sum('request_duration_seconds')).toBeCloseTo(0.3);
  expect(sum('backend_duration_seconds')).toBeCloseTo(0.2);
});
