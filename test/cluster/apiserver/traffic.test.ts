/** The whole of it against a real server: objects become routes, and statuses. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from '../../kit/process.ts';
import { within, type Spooky } from '../../kit/spooky.ts';
import { startApi, type Api } from '../api.ts';
import { addKinds, REFERENCE_GRANT } from '../foreign.ts';
import {
  apply,
  ask,
  demo,
  entrance,
  grant,
  install,
  isolationMissing,
  judged,
  objectPath,
  OWN,
  read,
  service,
  tlsSecret,
  upstream,
  type Installation,
} from '../installation.ts';

const missing = isolationMissing();
if (missing !== null) {
  process.stderr.write(`test/cluster/apiserver/traffic: ${missing}\n`);
  test.skip(missing, () => {});
}

(missing === null ? describe : describe.skip)('with traffic', () => {
  let api: Api;
  let installation: Installation;
  let pod: Spooky;

  beforeAll(async () => {
    api = await startApi();
    installation = await install(api);
    for (const namespace of ['web', 'shop']) await api.namespace(namespace);
    await apply(api, ...entrance());
    await demo('198.18.200.1');
    await demo('198.18.200.2');
    pod = await installation.start();
  }, 180_000);

  const served = (host: string, path: string, status: number, timeoutMs = 10_000): Promise<void> =>
    eventually(async () => {
      const answer = await ask(host, path);
      if (answer.status !== status) throw new Error(`${host}${path}: ${answer.status}`);
    }, timeoutMs);

  test('a Listener and an Upstream are served, and told so', async () => {
    await apply(api, ...service('web', 'api', ['198.18.200.1']), upstream('web', 'api', 'api.example.com', { name: 'api', port: 'http' }));
    await served('api.example.com', '/status/218', 218);
    await judged(api, 'listeners', OWN, 'public', { Accepted: 'True Valid', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Published: 'True Published' }); // prettier-ignore
    await judged(api, 'upstreams', 'web', 'api', {
      Accepted: 'True Valid',
      ResolvedRefs: 'True ResolvedRefs',
      Programmed: 'True Programmed',
    });
    const { status } = await read(api, 'upstreams', 'web', 'api');
    expect(status?.installations).toEqual([
      expect.objectContaining({ controllerName: 'spooky.dev/spooky', attached: '1/1', endpoints: { total: 1, ready: 1 } }),
    ]);
    await eventually(async () => {
      expect((await read(api, 'listeners', OWN, 'public')).status?.attachedUpstreams).toBe(1);
    }, 25_000);
    expect((await ask('other.example.com', '/')).status).toBe(404);
  }, 60_000);

  test('K1: a reference into another namespace holds from the grant to its end, which is a matter of seconds', async () => {
    await addKinds(api, [REFERENCE_GRANT]);
    await apply(api, ...service('shop', 'cart', ['198.18.200.2']), upstream('web', 'cart', 'cart.example.com', { name: 'cart', namespace: 'shop', port: 'http' })); // prettier-ignore
    await judged(api, 'upstreams', 'web', 'cart', { Accepted: 'True Valid', ResolvedRefs: 'False RefNotPermitted' });
    expect((await ask('cart.example.com', '/')).status).toBe(500);
    // What does not exist reads the same.
    await apply(api, upstream('web', 'none', 'none.example.com', { name: 'none', namespace: 'shop', port: 'http' }));
    await judged(api, 'upstreams', 'web', 'none', { ResolvedRefs: 'False RefNotPermitted' });
    // The kind came while the process was running: it is looked for each 30 s.
    await apply(api, grant('shop', 'web'));
    await served('cart.example.com', '/status/219', 219, 45_000);
    await judged(api, 'upstreams', 'web', 'cart', { ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed' });
    await api.kubectl(['delete', 'referencegrant', '-n', 'shop', 'from-web']);
    const revoked = Date.now();
    await served('cart.example.com', '/', 500, 30_000);
    expect(Date.now() - revoked).toBeLessThan(within(pod, 5000));
    await judged(api, 'upstreams', 'web', 'cart', { ResolvedRefs: 'False RefNotPermitted' });
  }, 120_000);

  test('endpoints that come and go are followed', async () => {
    const where = async (): Promise<string> => {
      const answer = await ask('api.example.com', '/whoami');
      return `${answer.status}`;
    };
    await apply(api, ...service('web', 'api', []));
    await served('api.example.com', '/', 503);
    await apply(api, ...service('web', 'api', ['198.18.200.1', '198.18.200.2']));
    await served('api.example.com', '/status/218', 218);
    expect(await where()).toBe('200');
    await eventually(async () => {
      const { status } = await read(api, 'upstreams', 'web', 'api');
      expect(status?.installations?.[0]?.endpoints).toEqual({ total: 2, ready: 2 });
    }, 25_000);
  }, 60_000);

  test("another manager's part of a status stays, and ours comes back after somebody overwrote it", async () => {
    const path = `${objectPath('upstreams', 'web', 'api')}/status`;
    const foreign = { controllerName: 'example.com/other', attached: '1/9' };
    const write = (manager: string, installations: readonly object[]) =>
      api.request('PATCH', `${path}?fieldManager=${manager}&force=true`, { apiVersion: 'spooky.dev/v1alpha1', kind: 'Upstream', metadata: { name: 'api' }, status: { installations } }, { 'content-type': 'application/apply-patch+yaml' }); // prettier-ignore
    expect((await write('other', [foreign])).status).toBe(200);
    await apply(api, upstream('web', 'api', 'api.example.com', { name: 'api', port: 'http' }, { timeouts: { response: '31s' } }));
    await judged(api, 'upstreams', 'web', 'api', { Accepted: 'True Valid' });
    const entries = async () => (await read(api, 'upstreams', 'web', 'api')).status?.installations ?? [];
    expect(await entries()).toContainEqual(foreign);
    // By force, as somebody with a plan of his own might.
    const stolen = { controllerName: 'spooky.dev/spooky', attached: '0/7' };
    expect((await write('thief', [stolen])).status).toBe(200);
    await apply(api, upstream('web', 'api', 'api.example.com', { name: 'api', port: 'http' }, { timeouts: { response: '32s' } }));
    await eventually(async () => {
      expect(await entries()).toEqual(expect.arrayContaining([expect.objectContaining({ controllerName: 'spooky.dev/spooky', attached: '1/1' }), foreign])); // prettier-ignore
    }, 20_000);
  }, 60_000);

  test('a server that is killed is not missed by traffic, and what changed meanwhile is served within 5 s of its return', async () => {
    let failed = 0;
    let asked = 0;
    const asking = new AbortController();
    const load = (async () => {
      while (!asking.signal.aborted && asked < 100_000) {
        asked += 1;
        if ((await ask('api.example.com', '/status/218').catch(() => null))?.status !== 218) failed += 1;
      }
    })();
    await api.kill();
    await eventually(() => (asked > 150 ? Promise.resolve() : Promise.reject(new Error(`${asked}`))), 20_000);
    expect((await pod.text(`${pod.metricsUrl}/readyz`)).status).toBe(200);
    await api.restart();
    const back = Date.now();
    await apply(api, upstream('web', 'late', 'late.example.com', { name: 'api', port: 'http' }));
    await served('late.example.com', '/status/220', 220, 30_000);
    expect(Date.now() - back).toBeLessThan(within(pod, 5000));
    asking.abort();
    await load;
    expect([asked > 150, failed]).toEqual([true, 0]);
    await judged(api, 'upstreams', 'web', 'late', { Programmed: 'True Programmed' });
  }, 120_000);

  test('a certificate that is replaced is served, one that breaks closes what it was for alone', async () => {
    await apply(api, { ...tlsSecret(OWN, 'edge-tls', ['x.example.com']), data: { 'tls.crt': 'eA==', 'tls.key': 'eA==' } });
    await judged(api, 'listeners', OWN, 'public', { ResolvedRefs: 'False InvalidCertificate' });
    await apply(api, tlsSecret(OWN, 'edge-tls', ['*.example.com']));
    await judged(api, 'listeners', OWN, 'public', { ResolvedRefs: 'True ResolvedRefs' });
    await served('api.example.com', '/status/218', 218);
  }, 60_000);

  test('it ends as it is told, and leaves the lease to the next', async () => {
    expect(await pod.stop()).toEqual({ code: 0, signal: null });
    const { body } = await api.request('GET', `/apis/coordination.k8s.io/v1/namespaces/${OWN}/leases/spooky-leader`);
    expect((body as { spec: { holderIdentity?: string } }).spec.holderIdentity ?? '').toBe('');
  }, 60_000);
});
