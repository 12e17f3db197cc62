/** What people read in `kubectl describe`: one cluster in which everything is wrong, every text in one place. */
import { describe, expect, test } from '@jest/globals';
import { CONDITION_REASONS, type Compiled, type ObjectStatus } from '../../../src/control/compile/index.ts';
import { grant, leaf, listener, metaOf, port, run, secret, service, upstream } from './world.ts';

/** Names that nobody in namespace web may learn: no object of web mentions them, and no grant opens them. */
const CANARY = 'canary';

const only = (spec: object, name: string): ReturnType<typeof upstream> => upstream({ hostnames: [`${name}.example`], ...spec }, name);
const group = (name: string, ref: object): object => ({ name, service: { name: 'api', port: 'http', ...ref } });

const documents = [
  listener({ tls: { certificateRefs: [{ name: 'site' }, { name: 'far', namespace: 'certs' }] }, hostnames: ['*.example'] }),
  listener({ port: 8444, tls: { certificateRefs: [{ name: 'gone' }] } }, 'bare'),
  listener({ port: 8500 }, 'closed'),
  listener({ port: 9901 }, 'reserved'),
  listener({}, 'twin', 'edge', '2024-01-01T00:00:00Z'),
  listener({}, 'mine', 'web'),
  listener({ port: 8446, allowedNamespaces: { from: 'Same' } }, 'private'),
  secret('far', 'certs', leaf('far.example')),
  secret(CANARY, 'vault', leaf('canary.example')),
  upstream({ hostnames: ['canary.example'] }, CANARY, 'vault', '2020-01-01T00:00:00Z'),
  only(
    { backends: [group('a', { name: 'gone' }), group('b', { port: 'admin' }), group('c', { name: 'out' }), group('d', { port: 'ws' })] },
    'groups',
  ),
  only({ backends: [group('a', { namespace: 'vault', name: CANARY }), group('b', { namespace: 'vault', name: 'none' })] }, 'far'),
  only({ backends: [{ addresses: [{ address: '192.0.2.1:80' }] }] }, 'outside'),
  only({ certificateRefs: [{ name: 'gone' }], protocol: 'H2', tls: { verify: 'None' } }, 'keys'),
  only({ listeners: [{ name: 'private', namespace: 'edge' }] }, 'turned'),
  only({ listeners: [{ name: 'none', namespace: 'edge' }] }, 'lost'),
  only({ listeners: [{ name: 'mine', namespace: 'web' }] }, 'own'),
  upstream({ hostnames: ['nothing.test'], listeners: [{ name: 'public', namespace: 'edge' }] }, 'elsewhere'),
  upstream({ hostnames: ['canary.example'], listeners: [{ name: 'public', namespace: 'edge' }] }, 'late', 'web', '2024-01-01T00:00:00Z'),
  upstream(
    { hostnames: ['canary.example', 'free.example'], listeners: [{ name: 'public', namespace: 'edge' }] },
    'partly',
    'web',
    '2024-01-01T00:00:00Z',
  ),
];

const services = [
  service('api', 'web', [port(), port({ name: 'ws', port: 81, appProtocol: 'kubernetes.io/ws' })]),
  service('out', 'web', [port()], { type: 'ExternalName' }),
  service(CANARY, 'vault'),
  service('spooky', 'edge', [
    port({ protocol: 'UDP', port: 443, targetPort: 8443 }),
    port({ protocol: 'UDP', port: 8446, targetPort: 8446 }),
  ]),
];

const c = run(
  documents,
  {
    services,
    rejected: [
      {
        kind: 'Upstream',
        meta: metaOf('web', 'odd'),
        faults: [{ severity: 'error', path: 'spec.hostnames', message: 'must have at least one item' }],
      },
    ],
  },
  { ports: new Set([8443, 8444, 8446]), publishService: { namespace: 'edge', name: 'spooky' } },
);

/** Every condition that is not as it should be, or that says something although it is. */
const told = (s: ObjectStatus): string[] =>
  s.conditions
    .filter((x) => x.reason !== CONDITION_REASONS[x.type][0] || x.message !== '')
    .map((x) => `${x.type}=${x.status}/${x.reason}: ${x.message}`);

const all = (from: Compiled, kind: ObjectStatus['kind']): Record<string, string[]> =>
  Object.fromEntries(from.statuses.filter((s) => s.kind === kind && told(s).length > 0).map((s) => [`${s.namespace}/${s.name}`, told(s)]));

test('of Listeners', () => {
  const add = (at: number): string =>
    `add to the chart's values, beside the ports that are there, ports: [{name: http3-${at}, port: ${at}, targetPort: ${at}}]`;
  const pending = 'Programmed=False/Pending: it is not accepted';
  expect(all(c, 'Listener')).toEqual({
    'edge/bare': [
      'ResolvedRefs=False/InvalidCertificate: spec.tls.certificateRefs[0]: there is no Secret edge/gone',
      'Programmed=False/Pending: there is no usable certificate: every handshake is refused',
      `Published=False/PortNotPublished: Service edge/spooky maps no UDP port to 8444: ${add(8444)}`,
    ],
    'edge/closed': [
      `Accepted=False/NotAllowed: spec.port: port 8500 is not among the installation's ports: ${add(8500)}`,
      pending,
      `Published=False/PortNotPublished: port 8500 is not among the installation's ports: ${add(8500)}`,
    ],
    'edge/public': [
      'ResolvedRefs=False/RefNotPermitted: spec.tls.certificateRefs[1]: there is no Secret certs/far that namespace edge may use: it must exist, and a ReferenceGrant in certs must allow it (from: group spooky.dev, kind Listener, namespace edge; to: group "", kind Secret)',
    ],
    'edge/reserved': [
      "Accepted=False/NotAllowed: spec.port: port 9901 is the installation's own, for metrics or administration: take another",
      pending,
      "Published=False/PortNotPublished: port 9901 is the installation's own, for metrics or administration: take another",
    ],
    'edge/twin': ['Accepted=False/PortConflict: spec.port: port 8443 of the same address is taken by an older Listener', pending],
    'web/mine': [
      "Accepted=False/NotAllowed: Listeners of namespace web do not count: add web to the chart's value listenerNamespaces (--listener-namespaces)",
      'ResolvedRefs=False/InvalidCertificate: spec.tls.certificateRefs[0]: there is no Secret web/site',
      pending,
    ],
  });
});

test('of Upstreams', () => {
  const pending = 'Programmed=False/Pending: it is not accepted';
  const hidden = (name: string): string =>
    `there is no Service vault/${name} that namespace web may use: it must exist, and a ReferenceGrant in vault must allow it (from: group spooky.dev, kind Upstream, namespace web; to: group "", kind Service)`;
  expect(all(c, 'Upstream')).toEqual({
    'vault/canary': [`ResolvedRefs=False/InvalidBackend: spec.backends[0].service: there is no Service vault/api`],
    'web/elsewhere': ['Accepted=False/NoMatchingHostname: none of the hostnames is among those of the Listener', pending],
    'web/far': [
      `ResolvedRefs=False/RefNotPermitted: spec.backends[0].service: ${hidden('canary')}; spec.backends[1].service: ${hidden('none')}`,
    ],
    'web/groups': [
      'ResolvedRefs=False/InvalidBackend: spec.backends[0].service: there is no Service web/gone; ' +
        'spec.backends[1].service.port: Service web/api has no TCP port "admin"; it has http (80), ws (81); ' +
        'spec.backends[2].service: Service web/out is of type ExternalName, which is not followed: it can name any host; use a Service with endpoints of its own; ' +
        'spec.backends[3].service.port: appProtocol "kubernetes.io/ws" of port ws (81) of Service web/api is none that protocol Auto knows (kubernetes.io/h2c, grpc, http2, https): set protocol of the backend to H2C or H2',
    ],
    'web/keys': ['ResolvedRefs=False/InvalidCertificate: spec.certificateRefs[0]: there is no Secret web/gone'],
    'web/late': [
      'Accepted=False/Conflicted: an older Upstream has every one of its hostnames and matches',
      pending,
      'Conflicted=True/Conflict: an older Upstream serves canary.example every path',
    ],
    'web/lost': ['Accepted=False/NotAllowed: there is no Listener edge/none that admits Upstreams of namespace web', pending],
    'web/odd': ['Accepted=False/Invalid: 1 fault: spec.hostnames: must have at least one item', pending],
    'web/outside': [
      "ResolvedRefs=False/InvalidBackend: spec.backends[0].addresses: addresses are not allowed here: name a Service, or set the chart's value allowAddressBackends (--allow-address-backends)",
    ],
    'web/own': ['Programmed=False/Pending: the Listener is not served: NotAllowed'],
    'web/partly': ['Conflicted=True/Conflict: an older Upstream serves canary.example every path'],
    'web/turned': ['Accepted=False/NotAllowed: there is no Listener edge/private that admits Upstreams of namespace web', pending],
  });
});

describe('as a whole', () => {
  test('every reason that compile gives occurs', () => {
    const given = new Set(c.statuses.flatMap((s) => s.conditions.map((x) => x.reason)));
    const missing = Object.values(CONDITION_REASONS)
      .flat()
      .filter((reason) => !given.has(reason));
    // Whether an address is bound, workers say.
    expect(missing).toEqual(['AddressNotBound']);
  });

  test('nothing in namespace web tells of what only others have', () => {
    const asked = new Set(['web/far', 'web/late', 'web/partly']);
    for (const s of c.statuses.filter((x) => x.namespace === 'web' && !asked.has(`${x.namespace}/${x.name}`)))
      expect(JSON.stringify(s)).not.toContain(CANARY);
    // Those that name it learn no more than if it were not there.
    const without = run(
      documents.filter((d) => d.metadata.name !== CANARY || d.kind === 'Upstream'),
      { services: services.filter((s) => s.meta.name !== CANARY) },
      { ports: new Set([8443, 8444, 8446]), publishService: { namespace: 'edge', name: 'spooky' } },
    );
    expect(all(without, 'Upstream')['web/far']).toEqual(all(c, 'Upstream')['web/far']);
  });

  test('a text has no full stop, no line break and no more than a kilobyte', () => {
    for (const { message } of c.statuses.flatMap((s) => s.conditions)) {
      expect(message).not.toMatch(/[.\n]$|\n/);
      expect(Buffer.byteLength(message)).toBeLessThanOrEqual(1024);
    }
  });

  test('the note on certificates that are not checked stays where everything resolves', () => {
    const noted = run([listener(), upstream({ protocol: 'H2', tls: { verify: 'None' } })], {
      grants: [grant('web', 'Upstream', 'web', 'Service')],
    });
    expect(all(noted, 'Upstream')).toEqual({
      'web/api': ['ResolvedRefs=True/ResolvedRefs: spec.tls.verify is None: whoever answers is believed'],
    });
  });
});
