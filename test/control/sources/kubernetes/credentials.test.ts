import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { createClient } from '../../../../src/control/sources/kubernetes/client.ts';
import { loadCredentials, type Credentials, type CredentialsOptions } from '../../../../src/control/sources/kubernetes/credentials.ts';
import { ManualClock, systemClock } from '../../../../src/lib/clock.ts';
import { createLog } from '../../../../src/lib/log.ts';
import { makeCa, makeLeaf } from '../../../kit/certs.ts';

const CA = makeCa('kubernetes credentials');
const OTHER = makeCa('kubernetes credentials, another one');
const IN_POD = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };

let folder: string;
let clock: ManualClock;
let logged: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'credentials-'));
  clock = new ManualClock();
  logged = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const log = createLog({ level: 'trace', format: 'plain', write: (line) => logged.push(line), wall: () => 0 });
const load = (o: Partial<CredentialsOptions>) =>
  loadCredentials({ kubeconfig: null, context: null, env: {}, clock, log, serviceAccount: folder, ...o });
const loaded = async (o: Partial<CredentialsOptions>): Promise<Credentials> => {
  const result = await load(o);
  if (!result.ok) throw new Error(result.error);
  return result.value;
};
const faultOf = async (o: Partial<CredentialsOptions>): Promise<string> => {
  const result = await load(o);
  if (result.ok) throw new Error('it was loaded');
  return result.error;
};
const file = (name: string, content: string | Buffer): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const authorization = async (credentials: Credentials): Promise<string | undefined> =>
  (await credentials.access()).headers['authorization'];

describe('in a pod', () => {
  const mount = (token: string, ca: Buffer | string = CA.cert, namespace = 'edge'): void => {
    file('token', token);
    file('ca.crt', ca);
    file('namespace', namespace);
  };

  test('the service account says who, whom to trust and where', async () => {
    mount('secret-1\n', CA.cert, 'edge\n');
    const credentials = await loaded({ env: IN_POD });
    expect(credentials).toMatchObject({ inCluster: true, namespace: 'edge' });
    const access = await credentials.access();
    expect(access.server.href).toBe('https://10.96.0.1/');
    expect(access.headers).toEqual({ authorization: 'Bearer secret-1' });
    expect(access.tls).toEqual({ ca: CA.cert });
  });

  test('an IPv6 address gets its brackets', async () => {
    mount('t');
    const credentials = await loaded({ env: { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' } });
    expect((await credentials.access()).server.href).toBe('https://[fd00::1]:6443/');
  });

  test('without a namespace it is default', async () => {
    mount('t');
    rmSync(join(folder, 'namespace'));
    expect((await loaded({ env: IN_POD })).namespace).toBe('default');
  });

  test.each<[string, () => void, string]>([
    [
      'no token',
      () => rmSync(join(folder, 'token')),
      "the service account cannot be used: FOLDER/token: ENOENT: no such file or directory, open 'FOLDER/token'",
    ],
    ['an empty token', () => file('token', ' \n'), 'the service account cannot be used: FOLDER/token has no token'],
    [
      'a token that is a header of its own',
      () => file('token', 'a\r\nX-Evil: 1'),
      'the service account cannot be used: FOLDER/token has no token',
    ],
    ['no authority', () => file('ca.crt', ''), 'the service account cannot be used: FOLDER/ca.crt has no certificate'],
  ])('at the start everything must be there: %s', async (_what, spoil, expected) => {
    mount('t');
    spoil();
    expect(await faultOf({ env: IN_POD })).toBe(expected.replaceAll('FOLDER', folder));
  });

  test('an authority that cannot be parsed is refused', async () => {
    mount('t', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    expect(await faultOf({ env: IN_POD })).toMatch(/^the service account cannot be used: .*ca\.crt: /);
  });

  test.each([
    [{ KUBERNETES_SERVICE_HOST: 'no host', KUBERNETES_SERVICE_PORT: '443' }],
    [{ KUBERNETES_SERVICE_HOST: '10.0.0.1', KUBERNETES_SERVICE_PORT: 'x' }],
  ])('an address that is none: %j', async (env) => {
    mount('t');
    expect(await faultOf({ env })).toMatch(/^KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT give no address: /);
  });

  test('a new token is read within 60 s, and at once when it is asked for', async () => {
    mount('one');
    const credentials = await loaded({ env: IN_POD });
    const before = await credentials.access();
    file('token', 'two');
    clock.advance(59_999);
    expect(await authorization(credentials)).toBe('Bearer one');
    clock.advance(1);
    expect(await authorization(credentials)).toBe('Bearer two');
    // The same connections.
    expect((await credentials.access()).identity).toBe(before.identity);
    file('token', 'three');
    await credentials.renew();
    expect(await authorization(credentials)).toBe('Bearer three');
  });

  test('a file that is missing for a moment, or spoiled, leaves what was good', async () => {
    mount('one');
    const credentials = await loaded({ env: IN_POD });
    const before = await credentials.access();
    rmSync(join(folder, 'token'));
    rmSync(join(folder, 'ca.crt'));
    for (let i = 0; i < 3; i++) await credentials.renew();
    expect(await credentials.access()).toEqual(before);
    mount(' ', 'no certificate');
    await credentials.renew();
    expect(await credentials.access()).toEqual(before);
    // Once per file, not each time.
    expect(logged).toHaveLength(2);
    expect(logged.join()).not.toContain('one');
    mount('two');
    await credentials.renew();
    expect(await authorization(credentials)).toBe('Bearer two');
  });

  test('another authority makes other connections', async () => {
    mount('one');
    const credentials = await loaded({ env: IN_POD });
    const before = await credentials.access();
    mount('one', Buffer.concat([CA.cert, OTHER.cert]));
    clock.advance(60_000);
    const after = await credentials.access();
    expect(after.identity).not.toBe(before.identity);
    expect(after.tls.ca?.toString()).toBe(`${CA.cert.toString()}${OTHER.cert.toString()}`);
  });

  test('the link that the kubelet swaps is followed', async () => {
    for (const [version, token] of Object.entries({ '..1': 'one', '..2': 'two' })) {
      mkdirSync(join(folder, version));
      writeFileSync(join(folder, version, 'token'), token);
      writeFileSync(join(folder, version, 'ca.crt'), CA.cert);
    }
    symlinkSync('..1', join(folder, '..data'));
    for (const name of ['token', 'ca.crt']) symlinkSync(join('..data', name), join(folder, name));
    const credentials = await loaded({ env: IN_POD });
    expect(await authorization(credentials)).toBe('Bearer one');
    symlinkSync('..2', join(folder, '..tmp'));
    renameSync(join(folder, '..tmp'), join(folder, '..data'));
    await credentials.renew();
    expect(await authorization(credentials)).toBe('Bearer two');
  });
});

const config = (
  more: Record<string, unknown> = {},
  user: Record<string, unknown> = { token: 'abc' },
  cluster: Record<string, unknown> = {},
): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name: 'c', cluster: { server: 'https://192.0.2.1:6443', 'certificate-authority-data': CA.cert.toString('base64'), ...cluster } },
    ],
    users: [{ name: 'u', user }],
    contexts: [
      { name: 'one', context: { cluster: 'c', user: 'u', namespace: 'shop' } },
      { name: 'two', context: { cluster: 'c', user: 'u' } },
      { name: 'lost', context: { cluster: 'gone', user: 'u' } },
      { name: 'nobody', context: { cluster: 'c', user: 'gone' } },
    ],
    'current-context': 'one',
    ...more,
  });

describe('a kubeconfig', () => {
  test('gives the current context, or the one that is named', async () => {
    const kubeconfig = file('config', config());
    const credentials = await loaded({ kubeconfig, env: IN_POD });
    expect(credentials).toMatchObject({ inCluster: false, namespace: 'shop' });
    const access = await credentials.access();
    expect(access.server.href).toBe('https://192.0.2.1:6443/');
    expect(access.headers).toEqual({ authorization: 'Bearer abc' });
    expect(access.tls).toEqual({ ca: CA.cert });
    expect((await loaded({ kubeconfig, context: 'two' })).namespace).toBe('default');
  });

  test('is found by KUBECONFIG, or at home; --context alone means a kubeconfig also in a pod', async () => {
    mkdirSync(join(folder, '.kube'));
    file('.kube/config', config({}, { token: 'home' }));
    const named = file('named', config({}, { token: 'named' }));
    expect(await authorization(await loaded({ env: { HOME: folder } }))).toBe('Bearer home');
    expect(await authorization(await loaded({ env: { HOME: folder, KUBECONFIG: named } }))).toBe('Bearer named');
    expect(await authorization(await loaded({ context: 'two', env: { HOME: folder, ...IN_POD } }))).toBe('Bearer home');
  });

  test('may be in several files, the first of which says the current context', async () => {
    const first = file(
      'first',
      JSON.stringify({ contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: 'first' } }], 'current-context': 'x' }),
    );
    const second = file('second', config());
    expect((await loaded({ env: { KUBECONFIG: `${first}:${second}` } })).namespace).toBe('first');
  });

  test.each<[string, string | null, string | null, string]>([
    ['missing', null, null, "the kubeconfig cannot be read: ENOENT: no such file or directory, open 'FILE'"],
    ['empty', '\n', null, 'FILE is not a kubeconfig: it is empty'],
    ['no YAML', '{a: [', null, 'FILE is not a kubeconfig: '],
    ['text', 'hello', null, 'FILE has no current context: name one with --context (it has none)'],
    [
      'an entry without a name',
      JSON.stringify({ clusters: [{ cluster: { server: 'https://a' } }] }),
      null,
      'FILE is not a kubeconfig: clusters[0].name is missing',
    ],
    [
      'no current context',
      config({ 'current-context': '' }),
      null,
      'FILE has no current context: name one with --context (it has one, two, lost, nobody)',
    ],
    ['an unknown context', config(), 'three', 'FILE has no context "three": it has one, two, lost, nobody'],
    ['a cluster that is not there', config(), 'lost', 'context "lost" of FILE names cluster "gone", which is not there'],
    ['a user that is not there', config(), 'nobody', 'context "nobody" of FILE names user "gone", which is not there'],
    ['no https', config({}, {}, { server: 'http://192.0.2.1' }), null, 'cluster "c" of FILE: server http://192.0.2.1 is not https'],
    ['no URL', config({}, {}, { server: 'nowhere' }), null, 'cluster "c" of FILE: server "nowhere" is no URL'],
    ['a proxy', config({}, {}, { 'proxy-url': 'socks5://a' }), null, 'cluster "c" of FILE: proxy-url is not supported'],
    [
      'an authority that is not there',
      config({}, {}, { 'certificate-authority': 'ca.pem' }),
      null,
      'the credentials of context "one" are not to be had: ENOENT: no such file or directory, open \'FOLDER/ca.pem\'',
    ],
  ])('that cannot be used says why: %s', async (_what, content, context, expected) => {
    const kubeconfig = join(folder, 'config');
    if (content !== null) writeFileSync(kubeconfig, content);
    const fault = await faultOf({ kubeconfig, context });
    const text = expected.replaceAll('FILE', kubeconfig).replaceAll('FOLDER', folder);
    expect(fault.slice(0, text.length)).toBe(text);
    expect(fault).not.toContain('\n');
  });

  test('is read again after 60 s, and at once when it is asked for, but not in a storm; what is broken leaves what was good', async () => {
    const kubeconfig = file('config', config());
    const credentials = await loaded({ kubeconfig });
    file('config', config({}, { token: 'def' }));
    clock.advance(60_000);
    expect(await authorization(credentials)).toBe('Bearer def');
    file('config', '{');
    await credentials.renew();
    expect(await authorization(credentials)).toBe('Bearer def');
    expect(logged).toHaveLength(1);
    expect(logged[0]).not.toContain('def');
    file('config', config({}, { token: 'ghi' }));
    await credentials.renew();
    expect(await authorization(credentials)).toBe('Bearer def');
    clock.advance(5000);
    await credentials.renew();
    expect(await authorization(credentials)).toBe('Bearer ghi');
  });

  test('basic authentication, skipped verification, another name for the server', async () => {
    const kubeconfig = file(
      'config',
      config({}, { username: 'u', password: 'p' }, { 'insecure-skip-tls-verify': true, 'tls-server-name': 'kubernetes' }),
    );
    const access = await (await loaded({ kubeconfig })).access();
    expect(access.headers).toEqual({ authorization: 'Basic dTpw' });
    expect(access.tls).toMatchObject({ rejectUnauthorized: false, servername: 'kubernetes' });
  });
});

describe('a plugin', () => {
  const plugin = (body: string): Record<string, unknown> => {
    const command = file('plugin', `#!/bin/sh\necho run >> ${folder}/runs\n${body}\n`);
    chmodSync(command, 0o755);
    return { exec: { apiVersion: 'client.authentication.k8s.io/v1', command, args: ['a'], env: [{ name: 'GREETING', value: 'hello' }] } };
  };
  const runs = (): number => readFileSync(join(folder, 'runs'), 'utf8').trim().split('\n').length;
  const says = (status: string): string =>
    `echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":${status}}'`;

  test('gives a token, is run once while that is good, and again when it was refused', async () => {
    const kubeconfig = file(
      'config',
      config({}, plugin(`${says('{"token":"NUMBER"}')} | sed "s/NUMBER/$GREETING-$(wc -l < ${folder}/runs)/"`)),
    );
    const credentials = await loaded({ kubeconfig });
    expect(await authorization(credentials)).toBe('Bearer hello-1');
    clock.advance(60_000);
    expect(await authorization(credentials)).toBe('Bearer hello-1');
    expect(runs()).toBe(1);
    await credentials.renew();
    expect(await authorization(credentials)).toBe('Bearer hello-2');
    await credentials.renew();
    expect(runs()).toBe(2);
  });

  test('may give a client certificate', async () => {
    const { cert, key } = makeLeaf(CA, { names: ['admin'], purpose: 'client' });
    const status = JSON.stringify({ clientCertificateData: cert.toString(), clientKeyData: key.toString() });
    file('answer', `{"status":${status}}`);
    const kubeconfig = file('config', config({}, plugin(`cat ${folder}/answer`)));
    expect((await (await loaded({ kubeconfig })).access()).tls).toMatchObject({ cert: cert.toString(), key: key.toString() });
  });

  test.each([
    [
      'is not there',
      { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: '/nowhere/plugin' } },
      /: spawn \/nowhere\/plugin ENOENT$/,
    ],
    ['fails', null, /: you are not logged in$/],
  ])('that %s is an error with its own words', async (what, user, expected) => {
    const kubeconfig = file('config', config({}, user ?? plugin('echo "you are not logged in" >&2; exit 1')));
    const fault = await faultOf({ kubeconfig });
    expect(what).not.toBe('');
    expect(fault).toMatch(/^the credentials of context "one" are not to be had: /);
    expect(fault).toMatch(expected);
  });

  test('that does not answer within 30 s is an error', async () => {
    const kubeconfig = file('config', config({}, plugin(`while [ -d ${folder} ] && [ ! -e ${folder}/go ]; do sleep 0.05; done`)));
    const result = load({ kubeconfig });
    for (let i = 0; i < 5000 && clock.pending() === 0; i++) await new Promise((resolve) => setTimeout(resolve, 2));
    clock.advance(30_000);
    expect(await result).toEqual({ ok: false, error: 'the credentials of context "one" are not to be had: no answer within 30 s' });
    file('go', '');
  });
});

describe('a client certificate', () => {
  let server: Server;
  afterEach(async () => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  });

  test('from files beside the kubeconfig is shown to the server', async () => {
    const identity = makeLeaf(CA, { names: ['127.0.0.1'] });
    server = createServer({ ...identity, ca: CA.cert, requestCert: true, rejectUnauthorized: true }, (request, response) => {
      response.end(JSON.stringify({ path: request.url, cn: (request.socket as TLSSocket).getPeerCertificate().subject.CN }));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { cert, key } = makeLeaf(CA, { names: ['admin'], purpose: 'client' });
    file('admin.crt', cert);
    file('admin.key', key);
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/below/it/`;
    const kubeconfig = file('config', config({}, { 'client-certificate': 'admin.crt', 'client-key': 'admin.key' }, { server: url }));
    const api = createClient({ credentials: await loaded({ kubeconfig }), clock: systemClock, log, userAgent: 'spooky/test' });
    try {
      expect(await api.request({ method: 'GET', path: '/version?a=1' })).toEqual({
        ok: true,
        status: 200,
        body: { path: '/below/it/version?a=1', cn: 'admin' },
      });
    } finally {
      api.close();
    }
  });
});
