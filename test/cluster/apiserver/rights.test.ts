/**
 * The rights that the chart renders are those that the process needs: nothing is refused to it, and every verb is used. Read from the server's
 * own audit log.
 */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rights } from '../../charts/manifest.ts';
import { eventually } from '../../kit/process.ts';
import { startApi, type Api } from '../api.ts';
import { addKinds, REFERENCE_GRANT } from '../foreign.ts';
import { apply, grant, install, listener, OWN, read, service, tlsSecret, upstream, verdicts, type Installation } from '../installation.ts';

interface Entry {
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly requestURI: string;
  readonly objectRef?: {
    readonly resource: string;
    readonly namespace?: string;
    readonly name?: string;
    readonly apiGroup?: string;
    readonly subresource?: string;
  };
  readonly responseStatus?: { readonly code?: number };
}

const AUDIT = [`--audit-policy-file=${join(import.meta.dirname, '../parts/audit.yaml')}`, '--audit-log-path=log/audit.json'];
/** Without it a reflector has no use for lists: both ways must have their rights. */
const LISTS = '--feature-gates=WatchList=false';

const entries = (api: Api): Entry[] =>
  readFileSync(join(api.state, 'log/audit.json'), 'utf8')
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Entry);

const refused = (api: Api): string[] =>
  entries(api)
    .filter((e) => e.responseStatus?.code === 403 || e.responseStatus?.code === 401)
    .map((e) => `${e.user.username}: ${e.verb} ${e.requestURI}`);

/** Rights, in the words of `rights`, one verb each, that no request has used. */
function unused(api: Api, granted: readonly string[], account: string): string[] {
  const made = entries(api).filter(
    (e) => e.user.username === `system:serviceaccount:${OWN}:${account}` && (e.responseStatus?.code ?? 500) < 300,
  );
  return granted.flatMap((right) => {
    const [, scope, target, names, verbs] = /^(\S+) ([^[:]+)(?:\[(.*)\])?: (.*)$/.exec(right) ?? [];
    return (verbs ?? '').split(',').flatMap((verb) => {
      const wanted = names === undefined ? [undefined] : names.split(',');
      return wanted.flatMap((name) => {
        const found = made.some(({ verb: used, objectRef: o }) => {
          if (o === undefined || used !== verb) return false;
          const resource = o.subresource === undefined ? o.resource : `${o.resource}/${o.subresource}`;
          return (
            `${o.apiGroup ?? 'core'}/${resource}` === target &&
            (scope === '*' || o.namespace === scope) &&
            (name === undefined || o.name === name)
          );
        });
        return found ? [] : [`${scope} ${target}${name === undefined ? '' : `[${name}]`}: ${verb}`];
      });
    });
  });
}

/** Everything that a cluster can ask of the process. */
async function exercise(api: Api, namespace = 'web'): Promise<void> {
  const good = upstream(namespace, 'api', `${namespace}.example.com`, { name: 'api', port: 'http' });
  const bad = upstream(namespace, 'api', `${namespace}.example.com`, { name: 'api', port: 'none' });
  await apply(
    api,
    tlsSecret(OWN, 'edge-tls', ['*.example.com']),
    listener(),
    listener({ port: 9443 }, 'elsewhere', 'web'),
    ...service(namespace, 'api', ['198.18.200.1']),
    grant(namespace, 'shop'),
  );
  const judged = (object: object, wanted: string): Promise<void> =>
    apply(api, object).then(() =>
      eventually(async () => {
        expect(verdicts(await read(api, 'upstreams', namespace, 'api'))['ResolvedRefs']).toBe(wanted);
      }, 20_000),
    );
  // The second turn to the same fault continues the event of the first.
  for (let i = 0; i < 2; i++) {
    await judged(good, 'True ResolvedRefs');
    await judged(bad, 'False InvalidBackend');
  }
  await judged(good, 'True ResolvedRefs');
  await eventually(async () => {
    expect(verdicts(await read(api, 'listeners', OWN, 'public'))['Accepted']).toBe('True Valid');
  });
}

async function world(flags: readonly string[], values: object): Promise<{ api: Api; installation: Installation }> {
  const api = await startApi({ flags: [...AUDIT, ...flags] });
  await addKinds(api, [REFERENCE_GRANT]);
  for (const namespace of ['web', 'shop']) await api.namespace(namespace);
  return { api, installation: await install(api, { drain: { delay: '0s' }, ...values }) };
}

describe.each<[string, object]>([
  ['by default', {}],
  [
    'in some namespaces, with nodes',
    {
      watchNamespaces: ['web'],
      listenerNamespaces: ['web'],
      secrets: { namespaces: ['web'] },
      topology: { source: 'node' },
      publishNodeAddresses: true,
    },
  ],
  ['with Secrets of the whole cluster', { secrets: { mode: 'cluster' } }],
])('one account, %s', (_, values) => {
  let api: Api;
  let installation: Installation;
  beforeAll(async () => {
    ({ api, installation } = await world([LISTS], values));
  }, 120_000);

  test('K12: nothing is refused, and every right is used', async () => {
    const pod = await installation.start();
    // The chart brings it along; whoever deletes it gets another.
    await api.kubectl(['delete', 'lease', '-n', OWN, 'spooky-leader']);
    for (const namespace of [OWN, 'web']) await exercise(api, namespace);
    const granted = rights(installation.documents, 'spooky');
    expect(granted.length).toBeGreaterThan(10);
    await eventually(async () => {
      expect(unused(api, granted, 'spooky')).toEqual([]);
    }, 30_000);
    await pod.stop();
    expect(refused(api)).toEqual([]);
  }, 120_000);
});

describe('two accounts', () => {
  let api: Api;
  let installation: Installation;
  beforeAll(async () => {
    ({ api, installation } = await world([LISTS], { controller: { mode: 'deployment' } }));
  }, 120_000);

  test('the pods with traffic read, the controller writes too; neither is refused anything, nor has more than it uses', async () => {
    const controller = await installation.start({ of: 'Deployment', name: 'controller-1' });
    const edge = await installation.start({ of: 'DaemonSet', name: 'edge-1' });
    await api.kubectl(['delete', 'lease', '-n', OWN, 'spooky-leader']);
    await exercise(api);
    const accounts = [installation.podSpec('DaemonSet').serviceAccountName, installation.podSpec('Deployment').serviceAccountName];
    expect(new Set(accounts).size).toBe(2);
    for (const account of accounts) {
      const granted = rights(installation.documents, account);
      expect(granted.length).toBeGreaterThan(6);
      await eventually(async () => {
        expect([account, unused(api, granted, account)]).toEqual([account, []]);
      }, 30_000);
    }
    const [edgeAccount = ''] = accounts;
    const writes = entries(api).filter((e) => e.user.username.endsWith(`:${edgeAccount}`) && !['get', 'list', 'watch'].includes(e.verb));
    expect(writes).toEqual([]);
    await Promise.all([controller.stop(), edge.stop()]);
    expect(refused(api)).toEqual([]);
  }, 120_000);
});

test('with lists that are watched from the beginning nothing is refused either', async () => {
  const { api, installation } = await world([], {});
  const pod = await installation.start();
  await exercise(api);
  await pod.stop();
  expect(refused(api)).toEqual([]);
}, 120_000);

test('without a right the process says which, is not ready, and gets on when it is given', async () => {
  const { api, installation } = await world([], {});
  await api.kubectl(['delete', 'clusterrolebinding', 'spooky-reader']);
  const { child, dir } = await installation.launch({ metrics: '127.0.0.1:29901' });
  const text = await eventually(async () => {
    const answer = await fetch('http://127.0.0.1:29901/readyz', { signal: AbortSignal.timeout(2000) });
    const body = await answer.text();
    expect([answer.status, body]).toEqual([503, expect.stringContaining('forbidden')]);
    return body;
  }, 20_000);
  expect(text).toMatch(/listeners/i);
  expect(dir).not.toBe('');
  await apply(api, ...installation.documents.filter((d) => d.metadata.name === 'spooky-reader' && d.kind === 'ClusterRoleBinding'));
  // 403 is asked again each 30 s.
  await child.waitFor('stderr', (line) => (line.includes('"msg":"ready"') ? true : undefined), 60_000);
  await child.stop();
}, 150_000);
