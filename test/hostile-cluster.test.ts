/** What is inside a cluster and nobody meant to expose: the installation's own ports, pods and nodes, and what others have. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { clusterMode } from '../src/cli/serve/cluster.ts';
import { installationOf } from '../src/cli/serve/installation.ts';
import type { Mode } from '../src/cli/serve/mode.ts';
import { ALWAYS_DENIED, DenyList, LOOPBACK } from '../src/lib/deny.ts';
import { readServeSettings, type ServeSettings } from '../src/settings.ts';
import { listener, port, run, service, upstream, verdict } from './control/compile/world.ts';

const dir = mkdtempSync(join(tmpdir(), 'spooky-inside-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const KUBECONFIG = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: c, context: {cluster: c, user: u, namespace: edge}}]
current-context: c
`;

function settings(...flags: [string, string][]): ServeSettings {
  const kubeconfig = join(dir, 'kubeconfig');
  writeFileSync(kubeconfig, KUBECONFIG);
  const read = readServeSettings({
    flags: new Map([['--kubernetes', ''], ['--kubeconfig', kubeconfig], ...flags]),
    env: {},
    document: null,
  });
  if (!read.ok) throw new Error(read.error.map((p) => p.message).join('; '));
  return read.value;
}

async function mode(env: Record<string, string>): Promise<Mode> {
  const s = settings();
  if (s.cluster === null) throw new Error('no cluster');
  const made = await clusterMode(s, s.cluster, { stdout: () => {}, stderr: () => {}, env, cwd: dir });
  if (!made.ok) throw new Error(made.error);
  return made.value;
}

describe('K4: the installation itself', () => {
  test('no backend may be this pod, its node, or any loopback address', async () => {
    const { deny, allowLoopback } = await mode({ POD_IPS: '10.1.2.3,2001:db8::3', HOST_IPS: '192.0.2.7,2001:db8:1::7' });
    expect(allowLoopback).toBe(false);
    const list = new DenyList([...ALWAYS_DENIED, ...LOOPBACK, ...deny]);
    for (const own of ['10.1.2.3', '2001:db8::3', '192.0.2.7', '2001:db8:1::7', '::ffff:10.1.2.3', '127.0.0.1', '169.254.169.254'])
      expect([own, list.denies(own)]).toEqual([own, true]);
    for (const other of ['10.1.2.4', '2001:db8::4', '192.0.2.8']) expect([other, list.denies(other)]).toEqual([other, false]);
  });

  test('what is no address in the environment opens and closes nothing', async () => {
    expect((await mode({ POD_IPS: 'nonsense,,0.0.0.0/0', HOST_IPS: '' })).deny).toEqual([]);
  });

  test('a Listener cannot have the ports of metrics and administration, even where the list of ports has them', () => {
    const s = settings(['--metrics', '0.0.0.0:9901'], ['--admin', '127.0.0.1:9902'], ['--ports', '8443,9901,9902']);
    if (s.cluster === null) throw new Error('no cluster');
    const { reservedPorts, ports } = installationOf(s, s.cluster, 'edge');
    for (const own of [9901, 9902]) {
      const c = run([listener({ port: own })], {}, { reservedPorts, ports });
      expect(verdict(c, 'Listener', 'edge/public', 'Accepted')).toContain(
        'False/NotAllowed: spec.port: port ' + own + " is the installation's own",
      );
      expect(c.listeners).toEqual([]);
    }
  });
});

describe('K4: Services', () => {
  const internal = (name: string, namespace: string): ReturnType<typeof service> =>
    service(name, namespace, [port({ name: '', port: 9901 })]);
  const refers = (name: string, namespace?: string): object => ({
    backends: [{ service: { name, port: 9901, ...(namespace === undefined ? {} : { namespace }) } }],
  });

  test.each(['spooky', 'spooky-metrics', 'internal', 'api-internal', 'kubernetes'])('%s has no meaning of its own', (name) => {
    // In the own namespace it is the Service of this name, or none.
    const without = run([listener(), upstream(refers(name))], { services: [] });
    expect(verdict(without, 'Upstream', 'web/api', 'ResolvedRefs')).toMatch(/^False\/InvalidBackend: .*there is no Service web\//);
  });

  test('of the installation are somebody else’s like any other', () => {
    const services = [internal('spooky-metrics', 'edge')];
    const c = run([listener(), upstream(refers('spooky-metrics', 'edge'))], { services });
    const refused = verdict(c, 'Upstream', 'web/api', 'ResolvedRefs');
    expect(refused).toMatch(/^False\/RefNotPermitted: /);
    expect(c.groups.size).toBe(0);
    // Whether it is there or not is nobody's business.
    const missing = run([listener(), upstream(refers('spooky-metrics', 'edge'))], { services: [] });
    expect(verdict(missing, 'Upstream', 'web/api', 'ResolvedRefs')).toBe(refused);
  });
});
