/** The samples of the manifests, as their comments say to use them: applied, and asked. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { X509Certificate } from 'node:crypto';
import type { Connection } from '../../kit/peers.ts';
import { makeCertificate } from '../../kit/x509.ts';
import { published } from './backend.ts';
import { addKinds, CERT_MANAGER, REFERENCE_GRANT } from '../foreign.ts';
import { api, apply, clean, getJson, install, kubectl, OWN, pods, rolledOut } from './cluster.ts';
import { inCluster } from './clusters.ts';
import { quickstart, sample, tlsSecret } from './demo.ts';
import { client, ENTRANCES, eventually, HOST, scrape, total, type Whoami } from './kit.ts';
import { SWIFT, told, upgrade } from './release.ts';

inCluster('usual');

describe('samples', () => {
  let connection: Connection;

  beforeAll(async () => {
    await clean('web');
    await install(SWIFT);
    await quickstart();
    connection = await client(ENTRANCES[0]);
  }, 400_000);
  afterAll(async () => {
    await connection?.close();
    const kinds = [REFERENCE_GRANT, ...CERT_MANAGER].map(({ plural, group }) => `${plural}.${group}`);
    await kubectl(['delete', 'crd', ...kinds, '--ignore-not-found', '--wait']);
    await clean('web');
  }, 240_000);

  interface Asked {
    readonly path?: string;
    readonly headers?: readonly (readonly [string, string])[];
  }

  const asked = (host: string, { path = '/whoami', headers = [] }: Asked = {}) => connection.request({ authority: host, path, headers });
  const who = async (host: string, how: Asked = {}): Promise<Whoami> => {
    const { status, text } = await asked(host, how);
    if (status !== 200) throw new Error(`${host}: ${status} ${text}`);
    return JSON.parse(text) as Whoami;
  };
  /** Which version has answered. */
  const version = async (host: string, how: Asked = {}): Promise<string> => /^demo-(\w+)-/.exec((await who(host, how)).host)?.[1] ?? '';
  const programmed = (name: string, where = 'demo'): Promise<void> =>
    eventually(async () => {
      const { verdicts } = await told('upstream', name, where);
      expect(verdicts).toMatchObject({ Accepted: 'True Valid', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed' });
    }, 20_000);

  test('quickstart: both pods of the first version answer, and none of the second', async () => {
    const hosts = new Set<string>();
    for (let i = 0; i < 100; i++) hosts.add((await who(HOST)).host);
    const { items } = await getJson<{ items: { metadata: { name: string } }[] }>([
      'pods',
      '--namespace',
      'demo',
      '--selector',
      'version=v1',
    ]);
    expect([...hosts].sort()).toEqual(items.map(({ metadata }) => metadata.name).sort());
  }, 60_000);

  test('canary: one request in ten goes to the second version', async () => {
    await apply(sample('canary'));
    await programmed('canary');
    const answers = await Promise.all(Array.from({ length: 1000 }, () => version(`canary.${HOST}`)));
    const second = answers.filter((is) => is === 'v2').length;
    expect(answers.filter((is) => is !== 'v2' && is !== 'v1')).toEqual([]);
    // 100 are expected; by chance alone (a standard deviation of 9.5) there are fewer than 50 or more than 150 once in ten million times.
    expect(second).toBeGreaterThanOrEqual(50);
    expect(second).toBeLessThanOrEqual(150);
    // All to the new one.
    const backends = [
      { name: 'v1', service: { name: 'demo-v1', port: 'http' }, weight: 0 },
      { name: 'v2', service: { name: 'demo-v2', port: 'http' }, weight: 10 },
    ];
    await kubectl(['--namespace', 'demo', 'patch', 'upstream', 'canary', '--type=merge', '-p', JSON.stringify({ spec: { backends } })]);
    await eventually(async () => {
      const after = await Promise.all(Array.from({ length: 100 }, () => version(`canary.${HOST}`)));
      expect(new Set(after)).toEqual(new Set(['v2']));
    }, 20_000);
  }, 90_000);

  test('headers: a field, or a path of a curl, chooses the second version', async () => {
    await apply(sample('headers'));
    await Promise.all(['headers-v1', 'headers-v2'].map((name) => programmed(name)));
    const host = `headers.${HOST}`;
    expect(await version(host)).toBe('v1');
    expect(await version(host, { headers: [['x-version', 'v2']] })).toBe('v2');
    expect(await version(host, { headers: [['x-version', 'v3']] })).toBe('v1');
    // The demo backends have no such page: what counts is which of them says so.
    for (const agent of ['curl/8.0', 'Mozilla/5.0'])
      expect((await asked(host, { path: '/preview/of/it', headers: [['user-agent', agent]] })).status).toBe(404);
    // Of the five, by header or path, two.
    await eventually(async () => expect([await requests('headers-v1'), await requests('headers-v2')]).toEqual([3, 2]));
  }, 60_000);

  /** Requests of an Upstream so far, in all pods. */
  const requests = async (name: string): Promise<number> => {
    const counts = await Promise.all(
      (await pods()).map(async ({ ip }) => total(await scrape(ip), 'spooky_backend_requests_total', { upstream: `demo/${name}` })),
    );
    return counts.reduce((a, b) => a + b, 0);
  };

  test("backend-tls: a backend that proves its name to an authority of one's own", async () => {
    const authority = makeCertificate({ subject: 'backends', ca: true });
    const leaf = makeCertificate({ subject: 'demo-tls', names: ['DNS:demo-tls.demo.svc'], issuer: authority });
    const ca = (pem: string): object => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { namespace: 'demo', name: 'backend-ca' },
      data: { 'ca.crt': pem },
    });
    await apply([tlsSecret('backend', leaf, 'demo'), ca(authority.cert)]);
    await apply(sample('backend-tls'));
    await rolledOut('deployment', 'demo-tls', 'demo');
    // The authority is in a namespace that the installation was not allowed to read.
    await eventually(async () => {
      const { verdicts, messages } = await told('upstream', 'backend-tls', 'demo');
      expect(verdicts['ResolvedRefs']).toBe('False RefNotPermitted');
      expect(messages['ResolvedRefs']).toContain('secrets.namespaces');
    }, 20_000);
    expect((await asked(`tls.${HOST}`)).status).toBe(500);
    await connection.close();
    await upgrade({ ...SWIFT, secrets: { namespaces: ['demo'] } });
    connection = await client(ENTRANCES[0]);
    await programmed('backend-tls');
    expect((await who(`tls.${HOST}`)).host).toMatch(/^demo-tls-/);
    // Another authority of the same name: the backend is not believed, and nothing is sent to it.
    await apply([ca(makeCertificate({ subject: 'backends', ca: true }).cert)]);
    await eventually(async () => expect((await asked(`tls.${HOST}`)).status).toBe(502), 20_000);
    await apply([ca(authority.cert)]);
    await eventually(async () => expect((await asked(`tls.${HOST}`)).status).toBe(200), 20_000);
  }, 240_000);

  test('cross-namespace: with the grant, and not without it', async () => {
    // Whoever has the Gateway API has this kind; it comes later than the pods here.
    await addKinds(api, [REFERENCE_GRANT]);
    await apply(sample('cross-namespace'));
    // Looked for every 30 s.
    await eventually(
      async () => expect((await told('upstream', 'web', 'web')).verdicts['ResolvedRefs']).toBe('True ResolvedRefs'),
      45_000,
      500,
    );
    const host = `web.${HOST}`;
    await eventually(async () => expect((await who(host)).host).toMatch(/^demo-v1-/), 10_000);
    const revoked = Date.now();
    await kubectl(['--namespace', 'demo', 'delete', 'referencegrant', 'from-web']);
    await eventually(async () => expect((await asked(host)).status).toBe(500), 5000);
    expect(Date.now() - revoked).toBeLessThan(8000);
    await eventually(
      async () => expect((await told('upstream', 'web', 'web')).verdicts['ResolvedRefs']).toBe('False RefNotPermitted'),
      10_000,
    );
    // A Service that is not there looks the same.
    const { messages } = await told('upstream', 'web', 'web');
    const backends = [{ service: { name: 'demo-v9', namespace: 'demo', port: 'http' } }];
    await kubectl(['--namespace', 'web', 'patch', 'upstream', 'web', '--type=merge', '-p', JSON.stringify({ spec: { backends } })]);
    await eventually(async () => {
      const now = await told('upstream', 'web', 'web');
      expect(now.verdicts['ResolvedRefs']).toBe('False RefNotPermitted');
      expect(now.messages['ResolvedRefs']).toBe(messages['ResolvedRefs']?.replaceAll('demo-v1', 'demo-v9'));
    }, 10_000);
    await apply(sample('cross-namespace'));
    await eventually(async () => expect((await who(host)).host).toMatch(/^demo-v1-/), 10_000);
  }, 180_000);

  test('cert-manager: another certificate, by the name that is asked for, and renewed under open connections', async () => {
    await addKinds(api, CERT_MANAGER);
    await apply(sample('cert-manager'));
    const shop = 'www.shop.example.com';
    const leaf = (): ReturnType<typeof makeCertificate> => makeCertificate({ names: ['DNS:shop.example.com', 'DNS:*.shop.example.com'] });
    /** What cert-manager does: the Secret that its Certificate names. */
    const issue = async (): Promise<string> => {
      const issued = leaf();
      await apply([tlsSecret('public-tls', issued)]);
      return new X509Certificate(issued.cert).fingerprint256.replaceAll(':', '').toLowerCase();
    };
    const shown = async (name: string): Promise<string> => {
      const one = await client(ENTRANCES[0], { name });
      await one.close();
      return one.certificate;
    };
    const usual = await shown(HOST);
    const first = await issue();
    await eventually(async () => expect(await shown(shop)).toBe(first), 20_000);
    await apply(published('shop', 'demo', { upstream: { hostnames: [shop] } }));
    await programmed('shop');
    const held = await client(ENTRANCES[0], { name: shop });
    const requested = async (): Promise<number> => (await held.request({ authority: shop, path: '/' })).status;
    await eventually(async () => expect(await requested()).toBe(200));
    const second = await issue();
    expect(second).not.toBe(first);
    await eventually(async () => expect(await shown(shop)).toBe(second), 20_000);
    expect(await shown(HOST)).toBe(usual);
    // The open connection goes on.
    expect(await requested()).toBe(200);
    await held.close();
    const { kind } = await getJson<{ kind: string }>(['certificate.cert-manager.io', 'public', '--namespace', OWN]);
    expect(kind).toBe('Certificate');
  }, 120_000);
});
