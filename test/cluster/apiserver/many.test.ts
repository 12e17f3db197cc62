import { beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from '../../kit/process.ts';
import type { Spooky } from '../../kit/spooky.ts';
import { times } from '../../contract/resources/samples.ts';
import { startApi, type Api } from '../api.ts';
import { apply, ask, install, listener, OWN, service, tlsSecret, upstream, verdicts, type Read } from '../installation.ts';

const MANY = 1000;

describe('a thousand Upstreams', () => {
  let api: Api;
  let pod: Spooky;

  beforeAll(async () => {
    api = await startApi();
    const installation = await install(api, { drain: { delay: '0s' } });
    await api.namespace('many');
    await apply(api, tlsSecret(OWN, 'edge-tls', ['*.example.com']), listener(), ...service('many', 'api', []));
    pod = await installation.start();
    await eventually(async () => {
      expect(await pod.metric('spooky_leader')).toBe(1);
    }, 30_000);
  }, 180_000);

  const writes = (): Promise<number> => pod.metric('spooky_kubernetes_status_writes_total');
  const all = async (): Promise<Read[]> =>
    ((await api.request('GET', '/apis/spooky.dev/v1alpha1/namespaces/many/upstreams')).body as { items: Read[] }).items;

  test('K7: each is told what became of it, by at most 1,100 writes in all', async () => {
    const before = await writes();
    const path = '/apis/spooky.dev/v1alpha1/namespaces/many/upstreams';
    const statuses = await Promise.all(
      times(MANY, (i) => api.request('POST', path, upstream('many', `u${i}`, `u${i}.example.com`, { name: 'api', port: 'http' }))),
    );
    expect(new Set(statuses.map(({ status }) => status))).toEqual(new Set([201]));
    await eventually(
      async () => {
        const told = (await all()).map((object) => JSON.stringify(verdicts(object)));
        expect(told).toHaveLength(MANY);
        const wanted = {
          Accepted: 'True Valid',
          ResolvedRefs: 'True ResolvedRefs',
          Programmed: 'True Programmed',
          Conflicted: 'False NoConflict',
        };
        expect(told.filter((text) => text !== JSON.stringify(wanted)).length).toBe(0);
      },
      120_000,
      1000,
    );
    expect(await pod.metric('spooky_config_resources', { kind: 'Upstream', accepted: 'true' })).toBe(MANY);
    const made = (await writes()) - before;
    process.stderr.write(`${MANY} new Upstreams: ${made} writes of statuses\n`);
    expect(made).toBeGreaterThanOrEqual(MANY);
    expect(made).toBeLessThanOrEqual(1100);
    expect((await ask(`u${MANY - 1}.example.com`, '/')).status).toBe(503);
  }, 240_000);
});
