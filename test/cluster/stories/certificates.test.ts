/** What an operator changes while clients work: certificates, grants, and who leads; what users then read. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { X509Certificate } from 'node:crypto';
import type { Issued } from '../../kit/x509.ts';
import { addKinds, REFERENCE_GRANT, removeKinds } from '../foreign.ts';
import {
  api,
  apply,
  clean,
  client,
  demoCertificate,
  ENTRANCES,
  eventually,
  forbidden,
  install,
  kubectl,
  namespace,
  once,
  OWN,
  quickstart,
  ready,
  sample,
  startLoad,
  tlsSecret,
  WHOLE,
} from './kit.ts';
import { leader, listener, told } from './release.ts';

/** "Within seconds". */
const SOON_MS = 10_000;

const fingerprint = ({ cert }: Issued): string => new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase();

/** The certificate that a new client is shown. */
async function shown(address: string): Promise<string> {
  const connection = await client(address);
  await connection.close();
  return connection.certificate;
}

const everywhere = (what: (address: string) => Promise<void>, timeoutMs = SOON_MS): Promise<unknown> =>
  Promise.all(ENTRANCES.map((address) => eventually(() => what(address), timeoutMs, 50)));

const WEB = 'web.demo.example.com';

/** What a client of the other namespace's name is answered. */
const web = async (address: string, wanted: number): Promise<void> => {
  const { status } = await once('/', address, { name: WEB });
  if (status !== wanted) throw new Error(`${address}: ${status} instead of ${wanted}`);
};

describe('certificates, grants and the leader, under load', () => {
  beforeAll(async () => {
    await clean('web');
    await install();
    await quickstart();
  }, 400_000);
  afterAll(async () => {
    await clean('web');
    await removeKinds(api, [REFERENCE_GRANT]).catch(() => undefined);
  }, 240_000);

  test('a Secret replaced: every node shows the new one within seconds, connections live on', async () => {
    const renewed = demoCertificate('renewed');
    const before = await shown(ENTRANCES[0] as string);
    expect(before).not.toBe(fingerprint(renewed));
    const load = await startLoad();
    await apply([tlsSecret('demo-tls', renewed)]);
    await everywhere(async (address) => {
      if ((await shown(address)) !== fingerprint(renewed)) throw new Error('still the old one');
    });
    const counts = await load.stop();
    expect(counts).toMatchObject({ ...WHOLE, statuses: { 200: counts.begun }, replaced: 0 });
  }, 120_000);

  test('a Secret that goes bad: the last certificate is not kept, the Listener says why, an event says it once; and back', async () => {
    const good = demoCertificate('good again');
    const { key } = demoCertificate('somebody else');
    await apply([tlsSecret('demo-tls', { ...good, key })]);
    await eventually(async () => {
      const { verdicts, messages } = await listener();
      expect(verdicts['ResolvedRefs']).toBe('False InvalidCertificate');
      expect(messages['ResolvedRefs']).toContain('demo-tls');
    }, SOON_MS); // prettier-ignore
    await expect(once('/', ENTRANCES[0], { timeoutMs: 2000 })).rejects.toThrow();
    await eventually(async () => {
      const said = await kubectl(['--namespace', OWN, 'describe', 'listener', 'public']);
      expect(said).toMatch(/Warning\s+InvalidCertificate/);
    }, 30_000, 250); // prettier-ignore
    await apply([tlsSecret('demo-tls', good)]);
    await everywhere(async (address) => {
      if ((await shown(address)) !== fingerprint(good)) throw new Error('still none');
    });
    await eventually(async () => {
      expect((await listener()).verdicts).toMatchObject({ ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed' });
    }, SOON_MS); // prettier-ignore
    await eventually(async () => {
      const said = await kubectl(['--namespace', OWN, 'describe', 'listener', 'public']);
      expect(said).toMatch(/Normal\s+\w+/);
    }, 30_000, 250); // prettier-ignore
  }, 180_000);

  test('a grant installed, given and revoked: the traffic comes and goes within seconds', async () => {
    await namespace('web');
    const documents = sample('cross-namespace').split(/^---$/m);
    const grant = documents.find((text) => text.includes('kind: ReferenceGrant')) as string;
    await apply(documents.filter((text) => text !== grant).join('---'));
    await everywhere((address) => web(address, 500));
    // The kind itself is looked for every 30 s.
    await addKinds(api, [REFERENCE_GRANT]);
    await apply(grant);
    await everywhere((address) => web(address, 200), 60_000);
    const load = await startLoad();
    for (let i = 0; i < 2; i++) {
      await kubectl(['--namespace', 'demo', 'delete', 'referencegrant', 'from-web']);
      await everywhere((address) => web(address, 500));
      await eventually(async () => {
        expect((await told('upstream', 'web', 'web')).verdicts['ResolvedRefs']).toBe('False RefNotPermitted');
      }, SOON_MS); // prettier-ignore
      await apply(grant);
      await everywhere((address) => web(address, 200));
    }
    // Those whose grant it was not have not noticed.
    const counts = await load.stop();
    expect(counts).toMatchObject({ ...WHOLE, statuses: { 200: counts.begun }, replaced: 0 });
    await eventually(async () => {
      expect(await kubectl(['--namespace', 'web', 'describe', 'upstream', 'web'])).toMatch(/Warning\s+RefNotPermitted/);
    }, 30_000, 250); // prettier-ignore
  }, 240_000);

  test('the pod that leads is deleted: another one leads, and statuses go on', async () => {
    const before = await ready();
    const first = await leader();
    expect(before.map(({ name }) => name)).toContain(first);
    const load = await startLoad();
    await kubectl(['--namespace', OWN, 'delete', 'pod', first, '--wait=false']);
    // It gives the Lease back as it goes.
    const second = await eventually(async () => {
      const now = await leader();
      if (now === first || now === '') throw new Error(`${now} leads`);
      return now;
    }, SOON_MS); // prettier-ignore
    expect(before.map(({ name }) => name)).toContain(second);
    await kubectl(['--namespace', 'demo', 'patch', 'upstream', 'demo', '--type', 'merge', '-p', JSON.stringify({ spec: { hostnames: ['demo.example.com', 'more.demo.example.com'] } })]); // prettier-ignore
    await eventually(async () => {
      const { verdicts } = await told('upstream', 'demo', 'demo');
      expect(verdicts).toMatchObject({ Accepted: 'True Valid', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed' });
    }, 20_000); // prettier-ignore
    await ready(120_000);
    await load.more(80);
    const counts = await load.stop();
    expect(counts).toMatchObject({ failedBeforeGoaway: 0, failures: [], statuses: { 200: counts.begun } });
  }, 200_000);

  test('in all of this the API server has refused the pods nothing', () => {
    expect(forbidden()).toEqual([]);
  });
});
