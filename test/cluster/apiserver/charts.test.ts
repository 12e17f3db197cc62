import { beforeAll, describe, expect, test } from '@jest/globals';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseAllDocuments } from 'yaml';
import type { Manifest } from '../../charts/manifest.ts';
import { startApi, type Api, type Ran } from '../api.ts';
import { addKinds, CERT_MANAGER, MONITORS, REFERENCE_GRANT } from '../foreign.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
const CHART = join(ROOT, 'charts/spooky');
const VALUES = join(ROOT, 'test/charts/values');
const MANIFESTS = join(ROOT, 'manifests');
const names = readdirSync(VALUES).map((file) => file.replace('.yaml', ''));

let api: Api;
beforeAll(async () => {
  api = await startApi();
  await api.crds();
  await addKinds(api, [...MONITORS, ...CERT_MANAGER, REFERENCE_GRANT]);
  for (const namespace of ['spooky-system', 'web', 'shop', 'demo', 'monitoring', 'strict']) await api.namespace(namespace);
  await api.namespace('restricted', { 'pod-security.kubernetes.io/enforce': 'restricted' });
}, 120_000);

const helms = ['helm', 'helm4'] as const;
const valuesOf = (name: string): string => join(VALUES, `${name}.yaml`);
const helm = (program: (typeof helms)[number], args: readonly string[]): Promise<Ran> => api.run(program, args);

async function render(program: (typeof helms)[number], name: string): Promise<string> {
  const { code, stdout, stderr } = await helm(program, ['template', 'spooky', CHART, '--namespace', 'spooky-system', '--kube-version', '1.36', '--values', valuesOf(name)]); // prettier-ignore
  expect([code, stderr]).toEqual([0, '']);
  return stdout;
}

/** The whole of it in one go, as a user would, with nothing written but what pods are judged by: their accounts, and namespaces. */
async function dryRun(text: string): Promise<Ran> {
  for (const { kind, metadata } of documentsOf(text)) {
    if (kind === 'Namespace') await api.namespace(metadata.name);
    if (kind !== 'ServiceAccount') continue;
    const path = `/api/v1/namespaces/${metadata.namespace ?? 'spooky-system'}/serviceaccounts`;
    await api.request('POST', path, { metadata: { name: metadata.name } });
  }
  const ran = await api.tryKubectl(
    ['apply', '--server-side', '--force-conflicts', '--dry-run=server', '--validate=strict', '-f', '-'],
    text,
  );
  return { ...ran, stderr: ran.stderr.replace(TOLD, '') };
}

/** Of a value that is for those clusters that still have it. */
const TOLD = /^Warning: spec.externalIPs is deprecated and may no longer be implemented in some clusters\n/;

const documentsOf = (text: string): Manifest[] =>
  parseAllDocuments(text).flatMap((d) => (d.contents === null ? [] : [d.toJS() as Manifest]));

test('there are at least six files of values', () => {
  expect(names.length).toBeGreaterThanOrEqual(6);
});

describe.each(helms)('%s', (program) => {
  test.each(names)('lint --strict of %s', async (name) => {
    const { code, stdout, stderr } = await helm(program, ['lint', '--strict', CHART, '--values', valuesOf(name)]);
    expect([code, stdout + stderr]).toEqual([0, expect.stringContaining('1 chart(s) linted, 0 chart(s) failed')]);
    expect(stdout + stderr).not.toMatch(/WARNING|ERROR/);
  });

  test.each(names)(
    'the server takes what is rendered of %s',
    async (name) => {
      const text = await render(program, name);
      const { code, stdout, stderr } = await dryRun(text);
      // Not even a warning: of deprecated fields, of a duplicate, of Pod Security.
      expect([code, stderr]).toEqual([0, '']);
      const count = documentsOf(text).length;
      expect(count).toBeGreaterThan(8);
      expect(stdout.trim().split('\n')).toHaveLength(count);
    },
    60_000,
  );
});

test('both helms render the same', async () => {
  for (const name of names)
    expect([name, documentsOf(await render('helm', name))]).toEqual([name, documentsOf(await render('helm4', name))]);
}, 120_000);

/** A server judges pods, not what makes them. */
describe('Pod Security restricted', () => {
  const podOf = (text: string): unknown => {
    const set = documentsOf(text).find(({ kind }) => kind === 'DaemonSet') as unknown as {
      spec: { template: { metadata: object; spec: object } };
    };
    const { metadata, spec } = set.spec.template;
    return { apiVersion: 'v1', kind: 'Pod', metadata: { ...metadata, name: 'judged' }, spec: { ...spec, serviceAccountName: 'default' } };
  };
  const judge = async (name: string): Promise<{ status: number; message: string }> => {
    await api.request('POST', '/api/v1/namespaces/restricted/serviceaccounts', { metadata: { name: 'default' } });
    const { status, body } = await api.request('POST', '/api/v1/namespaces/restricted/pods?dryRun=All', podOf(await render('helm', name)));
    return { status, message: (body as { message?: string }).message ?? '' };
  };

  test.each(['default', 'loadbalancer', 'split', 'tenants'])('%s is admitted', async (name) => {
    expect(await judge(name)).toEqual({ status: 201, message: '' });
  });

  test.each([
    ['hostport', /hostPort/],
    // Its values also ask for user 0, to bind low ports.
    ['hostnetwork', /host namespaces \(hostNetwork=true\)/],
  ])('%s is not, and only for what it is about', async (name, why) => {
    const { status, message } = await judge(name);
    expect([status, message]).toEqual([403, expect.stringMatching(why)]);
    expect(message).not.toMatch(/seccompProfile|allowPrivilegeEscalation|unrestricted capabilities/);
  });
});

describe('manifests', () => {
  const files = existsSync(MANIFESTS) ? readdirSync(MANIFESTS).filter((file) => file.endsWith('.yaml')) : [];

  test('there are some', () => {
    expect(files).toEqual(expect.arrayContaining(['install.yaml', 'quickstart.yaml']));
  });

  test.each(files)('the server takes %s', async (file) => {
    const { code, stdout, stderr } = await dryRun(readFileSync(join(MANIFESTS, file), 'utf8'));
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('serverside-applied (server dry run)');
  });
});
