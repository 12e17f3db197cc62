/** IPv6 between clients and nodes, and between Spooky and backends, in a cluster of both families. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { demoPods, published } from './backend.ts';
import { apply, clean, getJson, install, kubectl, NODES, OUTSIDE, OWN, pods } from './cluster.ts';
import { inCluster } from './clusters.ts';
import { quickstart } from './demo.ts';
import { client, eventually, HOST, once, whoami } from './kit.ts';
import { clientAddress } from './network.ts';
import { SWIFT, told, upgrade } from './release.ts';

inCluster('usual');

const CLIENT6 = '2001:2:0:1::1';
const OTHER6 = '2001:2:0:1::200';
const at4 = NODES.map(({ address }) => `${address}:30443`);
const at6 = NODES.map(({ address6 }) => `[${address6}]:30443`);

const families = async (): Promise<readonly string[]> =>
  (await getJson<{ spec: { ipFamilies: string[] } }>(['service', 'spooky', '--namespace', OWN])).spec.ipFamilies;

/** The address that a backend was reached from, without its port. */
const from = async (name: string): Promise<string> => {
  const { status, text } = await once('/whoami', undefined, { name });
  if (status !== 200) throw new Error(`${name}: ${status}`);
  const { peer } = JSON.parse(text) as { peer: string };
  return peer.slice(0, peer.lastIndexOf(':')).replace('::ffff:', '');
};

describe('IPv6', () => {
  const undo: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    await clean();
    undo.push((await clientAddress(OTHER6)).close);
    await install(SWIFT);
    await quickstart();
  }, 400_000);
  afterAll(async () => {
    for (const close of undo) await close();
    await clean();
  }, 240_000);

  test('the Service has both families without a value, and nodes keep the addresses of clients in either', async () => {
    expect(await families()).toEqual(['IPv4', 'IPv6']);
    const seen = await Promise.all([...at4, ...at6].map((address) => whoami(address)));
    expect(seen.map(({ headers }) => headers['x-forwarded-for'])).toEqual([OUTSIDE, OUTSIDE, CLIENT6, CLIENT6]);
    const other = await Promise.all(at6.map((address) => whoami(address, { local: OTHER6 })));
    expect(other.map(({ headers }) => [headers['x-forwarded-for'], headers['forwarded']?.split(';')[0]])).toEqual(
      at6.map(() => [OTHER6, `for="[${OTHER6}]"`]),
    );
  }, 60_000);

  test('backends are reached by the first family of their Service', async () => {
    await demoPods('both', { listen: '[::]:7001' });
    await apply([
      ...published('six', 'both', { service: { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6'] } }),
      ...published('six-first', 'both', { service: { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv6', 'IPv4'] } }),
      ...published('four-first', 'both', { service: { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv4', 'IPv6'] } }),
    ]);
    for (const name of ['six', 'six-first', 'four-first'])
      await eventually(async () => expect((await told('upstream', name, 'demo')).endpoints).toEqual({ total: 1, ready: 1 }), 30_000);
    const [pod] = await getJson<{ items: { status: { podIPs: { ip: string }[] } }[] }>(['pods', '--namespace', OWN, '--selector', 'app.kubernetes.io/component=edge', '--field-selector', `spec.nodeName=${NODES[0]?.name}`]).then(({ items }) => items); // prettier-ignore
    const [four, six] = pod?.status.podIPs.map(({ ip }) => ip) ?? [];
    // An IPv6 address of a new pod can be used once the kernel has looked for another owner, a second after it is ready by IPv4.
    await eventually(async () => {
      expect([await from(`six.${HOST}`), await from(`six-first.${HOST}`), await from(`four-first.${HOST}`)]).toEqual([six, six, four]);
    }, 20_000);
  }, 120_000);

  test('a Service that is made anew with another first family takes the traffic along', async () => {
    // The first family stays for the life of a Service.
    await kubectl(['--namespace', 'demo', 'delete', 'service', 'four-first', '--wait']);
    await apply(published('four-first', 'both', { service: { ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv6', 'IPv4'] } }));
    await eventually(async () => expect(await from(`four-first.${HOST}`)).toContain('2001:2:0:2'), 30_000);
  }, 60_000);

  test('ipFamilyPolicy SingleStack with IPv6: IPv4 is not answered any more', async () => {
    const before = await pods();
    // The first family of a Service stays for its life: the other one needs a new Service, as Kubernetes itself says.
    await kubectl(['--namespace', OWN, 'delete', 'service', 'spooky', '--wait']);
    await upgrade({ ...SWIFT, exposure: { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6'] } });
    expect(await families()).toEqual(['IPv6']);
    const seen = await eventually(() => Promise.all(at6.map((address) => whoami(address))), 30_000);
    expect(seen.map(({ headers }) => headers['x-forwarded-for'])).toEqual([CLIENT6, CLIENT6]);
    for (const address of at4) await expect(client(address, { timeoutMs: 1500 })).rejects.toThrow();
    expect((await pods()).map(({ uid }) => uid)).toEqual(before.map(({ uid }) => uid));
  }, 240_000);
});
