/** Hostile input against real processes: secrets that must not come out, and exceptions that must not end anything. Needs `make build`. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createPrivateKey, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { backend, type RecordingBackend } from './kit/backend.ts';
import { ENGINE } from './kit/engine.ts';
import { Client, head } from './kit/gateway.ts';
import { bytes, concat, data, frame, headers, varint, varint8, type Pair } from './kit/h3bytes.ts';
import { ROOT } from './kit/peers.ts';
import { freeUdpPort } from './kit/process.ts';
import { startSpooky, type Spooky } from './kit/spooky.ts';
import { makeCertificate } from './kit/x509.ts';

const HOST = 'site.example';
const ca = makeCertificate({ subject: 'hostile test CA', ca: true });
const leaf = makeCertificate({ names: [`DNS:${HOST}`], issuer: ca });
const inSecret = makeCertificate({ names: ['DNS:other.example'], issuer: ca });
const towardsBackend = makeCertificate({ subject: 'edge', issuer: ca });

let b: RecordingBackend;

beforeAll(async () => {
  if (!existsSync(join(ROOT, 'dist', 'main.js'))) throw new Error('dist/main.js is missing: make build');
  b = await backend((r) => {
    r.respond(200, [['set-cookie', 'canary-set-cookie-6d21']]);
    r.write(concat(Buffer.from('canary-response-body-91aa'), r.body));
    r.trail([['x-response-trailer', 'canary-response-trailer-07c3']]);
  });
});
afterAll(() => b.close());

const base64 = (text: string): string => Buffer.from(text).toString('base64');

const documents = (port: number): string => `
apiVersion: spooky.dev/v1alpha1
kind: Listener
metadata: {name: public}
spec:
  addresses: ["127.0.0.1"]
  port: ${port}
  tls: {certificateRefs: [{files: {cert: leaf.pem, key: leaf-key.pem}}, {name: inline}]}
  limits: {requestsPerConnection: 1000000, handshakesPerSecond: 1000}
---
apiVersion: v1
kind: Secret
metadata: {name: inline}
type: kubernetes.io/tls
data: {tls.crt: ${base64(inSecret.chain)}, tls.key: ${base64(inSecret.key)}}
---
apiVersion: v1
kind: Secret
metadata: {name: client}
type: kubernetes.io/tls
data: {tls.crt: ${base64(towardsBackend.chain)}, tls.key: ${base64(towardsBackend.key)}}
---
apiVersion: v1
kind: Secret
metadata: {name: spare}
stringData: {password: canary-secret-value-33d0}
---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: site}
spec:
  hostnames: ["${HOST}"]
  backends: [{addresses: [{address: "${b.address}"}]}]
---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: down}
spec:
  hostnames: ["${HOST}"]
  matches: [{path: {type: Prefix, value: /down}}]
  protocol: H2
  tls: {clientCertificateRef: {name: client}}
  backends: [{addresses: [{address: "127.0.0.1:9"}]}]
`;

/** Ways in which key material could be written: PEM lines, and the scalar itself in the spellings of a dump. */
function spellings(pem: string): string[] {
  const lines = pem.split('\n').filter((l) => l.length >= 32 && !l.startsWith('-'));
  const { d } = createPrivateKey(pem).export({ format: 'jwk' });
  const scalar = Buffer.from(d as string, 'base64url');
  const part = scalar.subarray(4, 28);
  const shifted = [0, 1, 2].map((n) =>
    scalar
      .subarray(4 + n, 28)
      .toString('base64')
      .slice(0, 28),
  );
  return [...lines, part.toString('hex'), part.toString('hex').toUpperCase(), [...part].join(','), [...part].join(', '), ...shifted];
}

const CANARIES = {
  cookie: 'canary-cookie-4f8e',
  authorization: 'canary-bearer-a17b',
  basic: base64('canary-user:canary-password-55c2'),
  'request id': 'canary-request-id-e920',
  'other header': 'canary-api-key-12f9',
  'request body': 'canary-request-body-c04d',
  'request trailer': 'canary-request-trailer-77b1',
  'response cookie': 'canary-set-cookie-6d21',
  'response body': 'canary-response-body-91aa',
  'response trailer': 'canary-response-trailer-07c3',
  'admin token': 'canary-admin-token-8e5f2c1d',
  'wrong token': 'canary-wrong-token-19d3',
  'secret of a document': 'canary-secret-value-33d0',
  'the same, as it is written': base64('canary-secret-value-33d0'),
} as const;

const SECRET_FIELDS: readonly Pair[] = [
  ['cookie', `session=${CANARIES.cookie}`],
  ['authorization', `Bearer ${CANARIES.authorization}`],
  ['proxy-authorization', `Basic ${CANARIES.basic}`],
  ['x-request-id', CANARIES['request id']],
  ['x-api-key', CANARIES['other header']],
];

async function start(args: readonly string[] = []): Promise<{ spooky: Spooky; port: number; installationKey: Buffer }> {
  const port = await freeUdpPort();
  const installationKey = Buffer.from(randomBytes(32).toString('hex'));
  const files = {
    'leaf.pem': leaf.chain,
    'leaf-key.pem': leaf.key,
    token: `${CANARIES['admin token']}\n`,
    'installation.key': installationKey,
  };
  const fixed = ['--admin-token-file', 'token', '--key-file', 'installation.key', '--access-log', 'all', '--metrics-detail', 'endpoint'];
  return { spooky: await startSpooky({ documents: documents(port), files, args: [...fixed, ...args] }), port, installationKey };
}

async function ask(url: string, token: string | null): Promise<string> {
  const answer = await fetch(url, {
    headers: token === null ? {} : { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(5000),
  });
  return `${answer.status} ${JSON.stringify([...answer.headers])} ${await answer.text()}`;
}

const PAGES = [
  '/health',
  '/ready',
  '/admin/config',
  '/admin/upstreams',
  '/admin/listeners',
  '/admin/certificates',
  '/admin/workers',
  '/admin/x',
];

/** All that a process says to anybody who asks. */
async function outputs(spooky: Spooky): Promise<string> {
  const token = CANARIES['admin token'];
  const pages = await Promise.all([
    ...['/healthz', '/readyz', '/metrics', '/debug', '/'].map((p) => ask(`${spooky.metricsUrl}${p}`, null)),
    ...PAGES.map((p) => ask(`${spooky.adminUrl}${p}`, token)),
    ...PAGES.map((p) => ask(`${spooky.adminUrl}${p}`, CANARIES['wrong token'])),
  ]);
  return pages.join('\n');
}

async function workersOf(spooky: Spooky): Promise<readonly { pid: number }[]> {
  const authorization = `Bearer ${CANARIES['admin token']}`;
  const answer = await fetch(`${spooky.adminUrl}/admin/workers`, { headers: { authorization }, signal: AbortSignal.timeout(5000) });
  return ((await answer.json()) as { workers: { pid: number }[] }).workers;
}

async function secretRequests(client: Client): Promise<void> {
  const fields = SECRET_FIELDS;
  const id = client.send(head('POST', '/', HOST, fields), null);
  client.body(id, CANARIES['request body']);
  client.trailers(id, [['x-request-trailer', CANARIES['request trailer']]]);
  const answer = await client.answer(id);
  expect(answer.status).toBe(200);
  expect(answer.body).toContain(CANARIES['response body']);
  expect(answer.trailers?.get('x-response-trailer')).toBe(CANARIES['response trailer']);
  const reached = JSON.stringify(b.last.fields);
  for (const name of ['cookie', 'authorization', 'other header'] as const) expect(reached).toContain(CANARIES[name]);
  expect(reached).not.toContain(CANARIES['request id']);
  // The same where something goes wrong: no route, a backend that is not there, a bad path, a field too many, a malformed end.
  expect((await client.get('/', fields, 'nobody.example')).status).toBe(404);
  expect((await client.get('/down', fields)).status).toBe(502);
  expect((await client.get('/%00', fields)).status).toBe(400);
  expect((await client.get('/', [...fields, ...Array.from({ length: 200 }, (_, i): Pair => [`x-${i}`, CANARIES.cookie])])).status).toBe(
    431,
  );
  expect((await client.get('/', [...fields, ['x-bad', `${CANARIES.cookie}\n`]])).status).toBe(-0x10e);
  expect((await client.get('/', [...fields, [CANARIES.cookie.toUpperCase(), CANARIES.cookie]])).status).toBe(-0x10e);
}

describe(`secrets on ${ENGINE.name}`, () => {
  test('K13: planted secrets are in no log, no access log, no metric and no page, whatever goes wrong', async () => {
    const { spooky, port, installationKey } = await start(['--log-level', 'trace']);
    const client = await Client.connect(ENGINE, port, null);
    await secretRequests(client);
    const before = await outputs(spooky);
    // Changes that cannot be used: a key cut short, a key for another certificate, a secret that is no certificate.
    spooky.write('leaf-key.pem', leaf.key.slice(0, Math.floor(leaf.key.length / 2)));
    await spooky.metricAbove('spooky_config_apply_total', { result: 'invalid' }, 0);
    spooky.write('leaf-key.pem', inSecret.key);
    await spooky.metricAbove('spooky_config_apply_total', { result: 'invalid' }, 1);
    spooky.write('leaf-key.pem', leaf.key);
    spooky.change(documents(port).replace('type: kubernetes.io/tls', 'type: Opaque').replace('password:', '"pass word":'));
    await spooky.metricAbove('spooky_config_apply_total', { result: 'invalid' }, 2);
    await secretRequests(client);
    const after = await outputs(spooky);
    client.close();
    expect(await spooky.stop()).toEqual({ code: 0, signal: null });

    const logs = [...spooky.child.stdout, ...spooky.child.stderr].join('\n');
    const all = `${before}\n${after}\n${logs}`;
    // There is something to find them in.
    expect(logs).toContain('"path":"/down"');
    expect(logs).toContain('"status":431');
    expect(logs).toContain('"msg":"configuration problem"');
    expect(before).toContain('spooky_requests_total');
    expect(before).toContain('other.example');
    expect(after.split('\n').length).toBeGreaterThan(100);
    for (const [name, canary] of Object.entries(CANARIES)) expect([name, all.includes(canary)]).toEqual([name, false]);
    for (const [name, pem] of Object.entries({ leaf: leaf.key, inSecret: inSecret.key, towardsBackend: towardsBackend.key })) {
      expect(spellings(pem).length).toBeGreaterThan(8);
      for (const s of spellings(pem)) expect([name, all.includes(s)]).toEqual([name, false]);
    }
    expect(all.includes(installationKey.toString())).toBe(false);
  }, 60_000);
});

describe(`exceptions on ${ENGINE.name}`, () => {
  const get = headers(head('GET', '/', HOST));
  const H2_FRAMES = [0x02, 0x06, 0x08, 0x09];
  /** Bytes on a request stream, or on a new stream of the client's. */
  const ATTACKS: readonly [what: string, on: 'request' | 'uni', raw: Uint8Array][] = [
    ['DATA first', 'request', data('x')],
    ['a section that does not decode', 'request', frame(0x01, bytes(0xff, 0xff, 0xff))],
    ['a static index beyond the table', 'request', frame(0x01, bytes(0, 0, 0xff, 0x24))],
    ['Huffman with EOS', 'request', frame(0x01, bytes(0, 0, 0x51, 0x84, 0xff, 0xff, 0xff, 0xff))],
    ['a frame of 2^62-1 bytes', 'request', concat(get, varint(0x21), varint8(2n ** 62n - 1n), Buffer.alloc(3000))],
    ...H2_FRAMES.map((type): [string, 'request', Uint8Array] => [`HTTP/2 frame ${type}`, 'request', frame(type)]),
    ['SETTINGS on a request', 'request', frame(0x04)],
    ['PUSH_PROMISE', 'request', concat(get, frame(0x05, bytes(0)))],
    ['trailers with a pseudo-field', 'request', concat(headers(head('POST', '/', HOST)), headers([[':path', '/']]))],
    ['a header bomb', 'request', frame(0x01, concat(bytes(0, 0), Buffer.alloc(16_000, 0xc0 | 58)))],
    ['a second control stream', 'uni', concat(bytes(0x00), frame(0x04))],
    ['a push stream', 'uni', bytes(0x01, 0x00)],
    ['an insertion', 'uni', bytes(0x02, 0xc0, 0x00)],
    ['an acknowledgement of nothing', 'uni', bytes(0x03, 0x80)],
    ['an integer without end', 'uni', concat(bytes(0x03, 0x7f), Buffer.alloc(20, 0x80))],
    ['noise', 'request', randomBytes(2000)],
    ['noise on a stream of no type', 'uni', randomBytes(2000)],
  ];

  test('J2: none ends a process, is left unhandled, or is needed: 300 connections that break every rule, beside an honest one', async () => {
    const { spooky, port } = await start();
    const [worker] = await workersOf(spooky);
    const honest = await Client.connect(ENGINE, port, null);
    for (let round = 0; round < 300 / ATTACKS.length; round++) {
      for (const [, on, raw] of ATTACKS) {
        const evil = await Client.connect(ENGINE, port, null);
        if (on === 'uni') evil.raw(evil.conn.openUni(), raw, false);
        else evil.raw(0, raw, round % 2 === 0);
        if (round % 3 === 2) evil.close();
        expect((await honest.get('/', [], HOST)).status).toBe(200);
        evil.close();
      }
    }
    const after = await workersOf(spooky);
    expect(after.map((w) => w.pid)).toEqual([worker?.pid]);
    expect(await spooky.metric('spooky_internal_errors_total')).toBe(0);
    expect(await spooky.metric('spooky_worker_restarts_total')).toBe(0);
    expect(await spooky.metric('spooky_protocol_errors_total')).toBeGreaterThan(100);
    honest.close();
    expect(await spooky.stop()).toEqual({ code: 0, signal: null });
    const lines = spooky.child.stderr.map((l) => JSON.parse(l) as { level: string; msg: string });
    const wanted = (l: { level: string; msg: string }): boolean =>
      l.level === 'info' || /^the preferred QUIC engine cannot be used$|UDP receive buffer$/.test(l.msg);
    expect(lines.filter((l) => !wanted(l))).toEqual([]);
  }, 60_000);
});
