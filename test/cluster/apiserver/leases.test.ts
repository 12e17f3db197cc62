import { beforeAll, describe, expect, test } from '@jest/globals';
import { eventually } from '../../kit/process.ts';
import { within, type Spooky } from '../../kit/spooky.ts';
import { startApi, type Api } from '../api.ts';
import { apply, entrance, install, judged, objectPath, OWN, read, service, upstream, type Installation } from '../installation.ts';

const LEASE = `/apis/coordination.k8s.io/v1/namespaces/${OWN}/leases/spooky-leader`;

interface LeaseSpec {
  readonly holderIdentity?: string;
  readonly leaseDurationSeconds?: number;
  readonly leaseTransitions?: number;
  readonly acquireTime?: string;
  readonly renewTime?: string;
}

describe('two controllers', () => {
  let api: Api;
  let installation: Installation;
  const pods = new Map<string, Spooky>();

  beforeAll(async () => {
    api = await startApi();
    installation = await install(api, { controller: { mode: 'deployment' } });
    await api.namespace('web');
    await apply(api, ...entrance(), ...service('web', 'api', ['198.18.200.1']));
    for (const name of ['one', 'two']) pods.set(name, await installation.start({ of: 'Deployment', name }));
  }, 180_000);

  const lease = async (): Promise<LeaseSpec> => ((await api.request('GET', LEASE)).body as { spec: LeaseSpec }).spec;
  const holder = async (): Promise<string> => ((await lease()).holderIdentity ?? '').split('_')[0] ?? '';
  const leads = (name: string): Promise<number> => (pods.get(name) as Spooky).metric('spooky_leader');
  /** The one that says so of itself; the lease must agree. */
  const leader = (timeoutMs = 40_000, wanted?: string): Promise<string> =>
    eventually(async () => {
      const claims = [];
      for (const name of pods.keys()) if ((await leads(name)) === 1) claims.push(name);
      const held = await holder();
      expect([claims, wanted ?? held]).toEqual([[held], held]);
      return held;
    }, timeoutMs);
  const writes = (name: string): Promise<number> => (pods.get(name) as Spooky).metric('spooky_kubernetes_status_writes_total');
  const touch = (name: string, response: string): Promise<string> =>
    apply(api, upstream('web', name, `${name}.example.com`, { name: 'api', port: 'http' }, { timeouts: { response } }));
  const accepted = (name: string): Promise<void> => judged(api, 'upstreams', 'web', name, { Accepted: 'True Valid' });

  test('one of them leads, and it alone writes; the record is what client-go writes', async () => {
    const first = await leader();
    const other = first === 'one' ? 'two' : 'one';
    await touch('a', '20s');
    await accepted('a');
    expect(await writes(first)).toBeGreaterThan(0);
    expect(await writes(other)).toBe(0);
    const { body } = await api.request('GET', LEASE);
    expect((body as { spec: LeaseSpec }).spec).toEqual({
      holderIdentity: expect.stringMatching(`^${first}_`),
      leaseDurationSeconds: 15,
      leaseTransitions: expect.any(Number),
      acquireTime: expect.stringMatching(/\.\d{6}Z$/),
      renewTime: expect.stringMatching(/\.\d{6}Z$/),
    });
  }, 90_000);

  test('who has the lease taken from it writes nothing more, and what changes is written when it is free again', async () => {
    const first = await leader();
    const { body } = await api.request('GET', LEASE);
    const taken = { ...(body as { metadata: object; spec: LeaseSpec }) };
    const forced = await api.request('PUT', LEASE, {
      ...taken,
      spec: { ...taken.spec, holderIdentity: 'an-operator', leaseTransitions: (taken.spec.leaseTransitions ?? 0) + 1, leaseDurationSeconds: 5, renewTime: new Date().toISOString().replace('Z', '000Z') }, // prettier-ignore
    });
    expect([200, 409]).toContain(forced.status);
    if (forced.status === 409) {
      // It was renewed in between: by force, then.
      await api.kubectl(['patch', 'lease', '-n', OWN, 'spooky-leader', '--type=merge', '-p', '{"spec":{"holderIdentity":"an-operator","leaseDurationSeconds":5}}']); // prettier-ignore
    }
    await eventually(async () => {
      expect([await leads('one'), await leads('two')]).toEqual([0, 0]);
    }, 15_000);
    const before = [await writes('one'), await writes('two')];
    // Nobody renews it for the operator, so it is free after the five seconds that it was taken for.
    await touch('a', '21s');
    const next = await leader();
    await accepted('a');
    expect(['one', 'two']).toContain(next);
    const after = [await writes('one'), await writes('two')];
    // All of the writes are the new leader's.
    const idle = next === 'one' ? 1 : 0;
    expect(after[idle]).toBe(before[idle]);
    expect(first).not.toBe('');
  }, 120_000);

  test('after a kill -9 of the leader the other one takes over when the lease has run out, and goes on', async () => {
    const first = await leader();
    const other = first === 'one' ? 'two' : 'one';
    const { leaseTransitions: before = 0 } = await lease();
    await (pods.get(first) as Spooky).kill();
    pods.delete(first);
    const killed = Date.now();
    await touch('b', '22s');
    expect(await leader(60_000, other)).toBe(other);
    // Fifteen seconds until it has run out, and some.
    expect(Date.now() - killed).toBeLessThan(15_000 + within(pods.get(other) as Spooky, 10_000));
    await accepted('b');
    expect((await lease()).leaseTransitions).toBe(before + 1);
  }, 120_000);

  test('a leader that is stopped gives the lease back, and the next has it at once', async () => {
    pods.set('three', await installation.start({ of: 'Deployment', name: 'three' }));
    const first = await leader();
    await (pods.get(first) as Spooky).stop();
    pods.delete(first);
    const stopped = Date.now();
    const next = await leader();
    // A lease that has to run out takes fifteen seconds.
    expect(Date.now() - stopped).toBeLessThan(Math.min(12_000, within(pods.get(next) as Spooky, 8000)));
  }, 120_000);

  test('an annotation is not answered, new objects cost a few writes, and when nothing changes nothing is written', async () => {
    const name = await leader();
    const version = async (): Promise<string> => (await read(api, 'upstreams', 'web', 'b')).metadata.resourceVersion;
    const [before, at] = [await writes(name), await version()];
    await api.request('PATCH', objectPath('upstreams', 'web', 'b'), { metadata: { annotations: { note: 'x' } } }, { 'content-type': 'application/merge-patch+json' }); // prettier-ignore
    expect(await version()).not.toBe(at);
    await touch('c', '20s');
    await accepted('c');
    await touch('d', '20s');
    await accepted('d');
    // Each is accepted, and then programmed; a Listener counts them.
    expect((await writes(name)) - before).toBeLessThanOrEqual(6);
    const settled = await eventually(async () => {
      const count = await writes(name);
      await new Promise((resolve) => setTimeout(resolve, 3000));
      expect(await writes(name)).toBe(count);
      return count;
    }, 40_000);
    expect(settled).toBeGreaterThan(before);
  }, 90_000);
});
