/** Who may do what, and what everybody may see. */
import type { Case, Scene } from '../scene.ts';
import type { Answer, Json } from '../wire.ts';

const CONTRACT = 'contract.spooky.dev';

/** A service account with these rules in its namespace, or everywhere; gives its token. */
async function account(s: Scene, rules: Json, where: 'role' | 'cluster role, bound here' | 'everywhere' = 'role'): Promise<string> {
  const id = s.ns;
  await s.post('serviceaccounts', id);
  const subjects = [{ kind: 'ServiceAccount', name: id, namespace: s.ns }];
  const role = where === 'role' ? 'roles' : 'clusterroles';
  await s.post(role, id, { rules });
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: role === 'roles' ? 'Role' : 'ClusterRole', name: id };
  await s.post(where === 'everywhere' ? 'clusterrolebindings' : 'rolebindings', id, { roleRef, subjects });
  const answer = await s.wire.ask('POST', s.path('serviceaccounts', id, 'token'), {
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { expirationSeconds: 600 } },
  });
  const token = answer.body.status.token as string;
  await settled(s, token);
  return token;
}

/** Authorizers learn of new roles by watches of their own. */
async function settled(s: Scene, token: string): Promise<void> {
  const spec = { resourceAttributes: { verb: 'get', group: '', resource: 'configmaps', namespace: s.ns, name: 'settled' } };
  for (let i = 0; i < 50; i++) {
    const { body } = await s.wire.ask('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
      token,
      body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec },
    });
    if (body.status.allowed === true) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the rules do not hold');
}

/** Every set of rules has this one, so that its coming can be seen. */
const SETTLED = { apiGroups: [''], resources: ['configmaps'], resourceNames: ['settled'], verbs: ['get'] };
const CREATE = 'POST';

const rule = (group: string, resource: string, verbs: readonly string[], names?: readonly string[]): Json => ({
  apiGroups: [group],
  resources: [resource],
  verbs,
  ...(names === undefined ? {} : { resourceNames: names }),
});

export const ACCESS: readonly Case[] = [
  {
    name: 'a token of nobody',
    run: async (s) => {
      const answer = await s.list('configmaps', '', { token: 'nobody' });
      return [s.full(answer), answer.body.kind];
    },
    gives: ['401 Unauthorized: Unauthorized', 'Status'],
  },
  {
    name: 'a role, here and elsewhere',
    run: async (s) => {
      const token = await account(s, [SETTLED, rule(CONTRACT, 'widgets', ['list'])]);
      return [
        s.brief(await s.list('widgets', '', { token })),
        s.full(await s.wire.ask('GET', s.everywhere('widgets'), { token })),
        s.full(await s.wire.ask('GET', '/apis/contract.spooky.dev/v1/namespaces/default/widgets', { token })),
        s.full(await s.get('widgets', 'w', { token })),
      ];
    },
    gives: [
      '200',
      '403 Forbidden: widgets.contract.spooky.dev is forbidden: User "system:serviceaccount:NS:NS" cannot list resource "widgets" in API group "contract.spooky.dev" at the cluster scope',
      '403 Forbidden: widgets.contract.spooky.dev is forbidden: User "system:serviceaccount:NS:NS" cannot list resource "widgets" in API group "contract.spooky.dev" in the namespace "default"',
      '403 Forbidden: widgets.contract.spooky.dev "w" is forbidden: User "system:serviceaccount:NS:NS" cannot get resource "widgets" in API group "contract.spooky.dev" in the namespace "NS"',
    ],
  },
  {
    name: 'a watch is another verb than a list',
    run: async (s) => {
      const token = await account(s, [SETTLED, rule(CONTRACT, 'widgets', ['list'])]);
      return s.full(await s.wire.watch(`${s.path('widgets')}?watch=true`, { token }).refusal());
    },
    gives:
      '403 Forbidden: widgets.contract.spooky.dev is forbidden: User "system:serviceaccount:NS:NS" cannot watch resource "widgets" in API group "contract.spooky.dev" in the namespace "NS"',
  },
  {
    name: 'a cluster role bound in a namespace',
    run: async (s) => {
      const token = await account(s, [SETTLED, rule('', 'secrets', ['list', 'watch'])], 'cluster role, bound here');
      return [s.brief(await s.list('secrets', '', { token })), s.brief(await s.wire.ask('GET', '/api/v1/secrets', { token }))];
    },
    gives: ['200', '403 Forbidden'],
  },
  {
    name: 'a cluster role bound everywhere',
    run: async (s) => {
      const token = await account(s, [SETTLED, rule('', 'namespaces', ['list'])], 'everywhere');
      return [
        s.brief(await s.wire.ask('GET', '/api/v1/namespaces', { token })),
        s.full(await s.wire.ask('GET', '/api/v1/nodes', { token })),
        s.brief(await s.get('namespaces', s.ns, { token })),
      ];
    },
    gives: [
      '200',
      '403 Forbidden: nodes is forbidden: User "system:serviceaccount:NS:NS" cannot list resource "nodes" in API group "" at the cluster scope',
      '403 Forbidden',
    ],
  },
  {
    name: 'one name',
    run: async (s) => {
      for (const name of ['mine', 'other']) await s.post('leases', name);
      const token = await account(s, [SETTLED, rule('coordination.k8s.io', 'leases', ['get', 'update', 'list', 'create'], ['mine'])]);
      const ask = async (method: string, name: string, query = ''): Promise<string> => {
        const body =
          method === 'GET'
            ? {}
            : {
                body: s.object('leases', name === '' ? 'mine' : name, {
                  metadata: { resourceVersion: (await s.get('leases', 'mine')).body.metadata.resourceVersion },
                }),
              };
        return s.brief(await s.wire.ask(method, `${s.path('leases', name)}${query}`, { token, ...body }));
      };
      return [
        await ask('GET', 'mine'),
        await ask('PUT', 'mine'),
        await ask('GET', 'other'),
        await ask('GET', ''),
        await ask('GET', '', '?fieldSelector=metadata.name%3Dmine'),
        await ask('GET', '', '?fieldSelector=metadata.name%3Dother'),
        await ask(CREATE, ''),
      ];
    },
    gives: ['200', '200', '403 Forbidden', '403 Forbidden', '200', '403 Forbidden', '403 Forbidden'],
  },
  {
    name: 'the status alone',
    run: async (s) => {
      await s.post('widgets', 'w', { spec: {} });
      const token = await account(s, [SETTLED, rule(CONTRACT, 'widgets/status', ['patch'])]);
      const patch = (sub: string): Promise<Answer> =>
        s.wire.ask('PATCH', s.path('widgets', 'w', sub), { token, type: 'application/merge-patch+json', body: { status: { count: 1 } } });
      const put = await s.wire.ask('PUT', s.path('widgets', 'w', 'status'), { token, body: s.object('widgets', 'w', { spec: {} }) });
      return [s.brief(await patch('status')), s.full(await patch('')), s.full(put)];
    },
    gives: [
      '200',
      '403 Forbidden: widgets.contract.spooky.dev "w" is forbidden: User "system:serviceaccount:NS:NS" cannot patch resource "widgets" in API group "contract.spooky.dev" in the namespace "NS"',
      '403 Forbidden: widgets.contract.spooky.dev "w" is forbidden: User "system:serviceaccount:NS:NS" cannot update resource "widgets/status" in API group "contract.spooky.dev" in the namespace "NS"',
    ],
  },
  {
    name: 'everything of a group',
    run: async (s) => {
      const token = await account(s, [SETTLED, rule(CONTRACT, '*', ['*'])]);
      const answers = [
        await s.wire.ask(CREATE, s.path('widgets'), { token, body: s.object('widgets', 'w', { spec: {} }) }),
        await s.wire.ask('DELETE', s.path('widgets'), { token }),
      ];
      return [...answers.map((a) => s.brief(a)), s.brief(await s.list('configmaps', '', { token }))];
    },
    gives: ['201', '200', '403 Forbidden'],
  },
  {
    name: 'refused the same whether it is there or not',
    run: async (s) => {
      await s.post('secrets', 'there');
      const token = await account(s, [SETTLED]);
      return [s.full(await s.get('secrets', 'there', { token })), s.full(await s.get('secrets', 'absent', { token }))];
    },
    gives: [
      '403 Forbidden: secrets "there" is forbidden: User "system:serviceaccount:NS:NS" cannot get resource "secrets" in API group "" in the namespace "NS"',
      '403 Forbidden: secrets "absent" is forbidden: User "system:serviceaccount:NS:NS" cannot get resource "secrets" in API group "" in the namespace "NS"',
    ],
  },
  {
    name: 'asking beforehand',
    run: async (s) => {
      const token = await account(s, [SETTLED, rule('', 'services', ['list'])]);
      const may = async (resourceAttributes: Json): Promise<unknown> => {
        const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec: { resourceAttributes } };
        const answer = await s.wire.ask(CREATE, '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', { token, body });
        return [answer.status, answer.body.kind, answer.body.status.allowed];
      };
      return [
        await may({ verb: 'list', resource: 'services', namespace: s.ns }),
        await may({ verb: 'list', resource: 'services' }),
        await may({ verb: 'watch', resource: 'services', namespace: s.ns }),
      ];
    },
    gives: [
      [201, 'SelfSubjectAccessReview', true],
      [201, 'SelfSubjectAccessReview', false],
      [201, 'SelfSubjectAccessReview', false],
    ],
  },
  {
    name: 'a role is taken away',
    run: async (s) => {
      const token = await account(s, [SETTLED, rule('', 'services', ['list'])]);
      const before = s.brief(await s.list('services', '', { token }));
      await s.delete('rolebindings', s.ns);
      for (let i = 0; i < 50; i++) {
        const after = s.brief(await s.list('services', '', { token }));
        if (after !== before) return [before, after];
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return [before, 'still allowed'];
    },
    gives: ['200', '403 Forbidden'],
  },
  {
    name: 'discovery is for every account',
    run: async (s) => {
      const token = await account(s, [SETTLED]);
      const paths = ['/api', '/apis', '/api/v1', '/apis/contract.spooky.dev', '/apis/contract.spooky.dev/v1', '/version'];
      const answers = await Promise.all(paths.map((path) => s.wire.ask('GET', path, { token })));
      return answers.map((a) => [a.status, a.body.kind ?? Object.keys(a.body as object).includes('gitVersion')]);
    },
    gives: [
      [200, 'APIVersions'],
      [200, 'APIGroupList'],
      [200, 'APIResourceList'],
      [200, 'APIGroup'],
      [200, 'APIResourceList'],
      [200, true],
    ],
  },
  {
    name: 'the versions of a group',
    run: async (s) => {
      const { body } = await s.wire.ask('GET', '/apis/contract.spooky.dev');
      return [body.name, body.versions, body.preferredVersion];
    },
    gives: [
      'contract.spooky.dev',
      [{ groupVersion: 'contract.spooky.dev/v1', version: 'v1' }],
      { groupVersion: 'contract.spooky.dev/v1', version: 'v1' },
    ],
  },
  {
    name: 'groups among all, and one that is not there',
    run: async (s) => {
      const { body } = await s.wire.ask('GET', '/apis');
      const names = (body.groups as Json[]).map((g) => g.name as string);
      const absent = await s.wire.ask('GET', '/apis/nope.example');
      return [
        names.includes('discovery.k8s.io'),
        names.includes('contract.spooky.dev'),
        names.includes(''),
        absent.status,
        absent.type.split(';')[0],
      ];
    },
    gives: [true, true, false, 404, 'text/plain'],
  },
  {
    name: 'the resources of a version',
    run: async (s) => {
      const { body } = await s.wire.ask('GET', '/apis/contract.spooky.dev/v1');
      const resources = (body.resources as Json[]).filter((r) => String(r.name).startsWith('widgets'));
      return [
        body.groupVersion,
        resources.map((r) => [r.name, r.kind, r.namespaced, [...(r.verbs as string[])].sort().join(), r.shortNames ?? 'none']),
      ];
    },
    gives: [
      'contract.spooky.dev/v1',
      [
        ['widgets', 'Widget', true, 'create,delete,deletecollection,get,list,patch,update,watch', ['wid']],
        ['widgets/status', 'Widget', true, 'get,patch,update', 'none'],
      ],
    ],
  },
  {
    name: 'ready and alive',
    run: async (s) =>
      Promise.all(
        ['/readyz', '/livez', '/healthz'].map(async (path) => (({ status, body }) => [status, body])(await s.wire.ask('GET', path))),
      ),
    gives: [
      [200, 'ok'],
      [200, 'ok'],
      [200, 'ok'],
    ],
  },
];
