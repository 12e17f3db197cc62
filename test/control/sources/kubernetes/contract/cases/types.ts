/** What the code of built-in types fills in and refuses. */
import { MERGE, type Case } from '../scene.ts';
import type { Answer, Json } from '../wire.ts';

const MICRO = '2026-01-01T00:00:00.123000Z';
const slice = (addressType: string, ...addresses: string[]): Json => ({
  addressType,
  endpoints: addresses.map((a) => ({ addresses: [a] })),
});
const event = (more: Json = {}): Json => ({
  eventTime: MICRO,
  reportingController: 'contract.spooky.dev/x',
  reportingInstance: 'x-1',
  action: 'Testing',
  reason: 'Tested',
  type: 'Normal',
  note: 'n',
  ...more,
});

export const TYPES: readonly Case[] = [
  {
    name: 'a Secret: its type, its texts',
    run: async (s) => {
      const { body } = await s.post('secrets', 'a', { stringData: { k: 'v' } });
      return [body.type, body.data, body.stringData ?? 'none', s.brief(await s.patch('secrets', 'a', MERGE, { type: 'other' }))];
    },
    gives: ['Opaque', { k: 'dg==' }, 'none', '422 Invalid'],
  },
  {
    name: 'a Secret for TLS without its keys',
    run: async (s) => {
      const answer = await s.post('secrets', 'a', { type: 'kubernetes.io/tls', data: { 'tls.crt': '' } });
      return [s.brief(answer), answer.body.details.causes.map((c: Json) => c.field as string)];
    },
    gives: ['422 Invalid', ['data[tls.key]']],
  },
  {
    name: 'a Secret that is no base64',
    run: async (s) => s.brief(await s.post('secrets', 'a', { data: { k: '%%%' } })),
    gives: '400 BadRequest',
  },
  {
    name: 'what a Service is given',
    run: async (s) => {
      const { body } = await s.post('services', 'a', { spec: { ports: [{ port: 80 }], selector: { a: 'b' } } });
      const { clusterIP, clusterIPs, ...rest } = body.spec as { clusterIP: string; clusterIPs: string[] };
      return [rest, /^\d+\.\d+\.\d+\.\d+$/.test(clusterIP), clusterIPs[0] === clusterIP, body.status, body.metadata.generation ?? 'none'];
    },
    gives: [
      {
        ports: [{ protocol: 'TCP', port: 80, targetPort: 80 }],
        selector: { a: 'b' },
        type: 'ClusterIP',
        sessionAffinity: 'None',
        ipFamilies: ['IPv4'],
        ipFamilyPolicy: 'SingleStack',
        internalTrafficPolicy: 'Cluster',
      },
      true,
      true,
      { loadBalancer: {} },
      'none',
    ],
  },
  {
    name: 'a headless Service, and one that is only a name',
    run: async (s) => {
      const headless = await s.post('services', 'a', {
        spec: { clusterIP: 'None', selector: { a: 'b' }, ports: [{ port: 80, targetPort: 'web' }] },
      });
      const named = await s.post('services', 'b', { spec: { type: 'ExternalName', externalName: 'x.example' } });
      return [headless.body.spec, named.body.spec];
    },
    gives: [
      {
        ports: [{ protocol: 'TCP', port: 80, targetPort: 'web' }],
        selector: { a: 'b' },
        clusterIP: 'None',
        clusterIPs: ['None'],
        type: 'ClusterIP',
        sessionAffinity: 'None',
        ipFamilies: ['IPv4'],
        ipFamilyPolicy: 'SingleStack',
        internalTrafficPolicy: 'Cluster',
      },
      { type: 'ExternalName', sessionAffinity: 'None', externalName: 'x.example' },
    ],
  },
  {
    name: 'Services that are refused',
    run: async (s) => {
      const of = async (value: Json): Promise<unknown> => {
        const answer = await s.post('services', 'a', { spec: value });
        return [s.brief(answer), answer.body.details?.causes?.map((c: Json) => c.field as string)];
      };
      return [
        await of({}),
        await of({ ports: [{ port: 0 }] }),
        await of({ ports: [{ port: 1 }, { port: 2 }] }),
        await of({ type: 'ExternalName' }),
      ];
    },
    gives: [
      ['422 Invalid', ['spec.ports']],
      ['422 Invalid', ['spec.ports[0].port', 'spec.ports[0].targetPort']],
      ['422 Invalid', ['spec.ports[0].name', 'spec.ports[1].name']],
      ['422 Invalid', ['spec.externalName']],
    ],
  },
  {
    name: 'an EndpointSlice without anything',
    run: async (s) => {
      const { body } = await s.post('endpointslices', 'a', { addressType: 'IPv4', endpoints: [] });
      return [body.endpoints, body.ports, body.metadata.generation];
    },
    gives: [null, null, 1],
  },
  {
    name: 'an EndpointSlice and its generation',
    run: async (s) => {
      await s.post('endpointslices', 'a', slice('IPv4', '198.18.0.1'));
      const one = await s.patch('endpointslices', 'a', MERGE, slice('IPv4', '198.18.0.1', '198.18.0.2'));
      const two = await s.patch('endpointslices', 'a', MERGE, { metadata: { labels: { a: 'b' } } });
      return [one.body.metadata.generation, two.body.metadata.generation];
    },
    gives: [2, 3],
  },
  {
    name: 'EndpointSlices that are refused',
    run: async (s) => {
      const of = async (value: Json): Promise<string> => s.brief(await s.post('endpointslices', 'x', value));
      await s.post('endpointslices', 'a', slice('IPv4', '198.18.0.1'));
      return [
        await of(slice('IPv4', '127.0.0.1')),
        await of(slice('IPv6', '::1')),
        await of(slice('IPv4', '2001:db8::1')),
        await of({ endpoints: [] }),
        await of({ addressType: 'IPv5', endpoints: [] }),
        await of({ addressType: 'IPv4', endpoints: [{ addresses: [] }] }),
        s.brief(await s.patch('endpointslices', 'a', MERGE, slice('IPv6', '2001:db8::1'))),
      ];
    },
    gives: ['422 Invalid', '422 Invalid', '422 Invalid', '422 Invalid', '422 Invalid', '422 Invalid', '422 Invalid'],
  },
  {
    name: 'the ports of an EndpointSlice',
    run: async (s) => {
      const { body } = await s.post('endpointslices', 'a', {
        ...slice('IPv4', '198.18.0.1'),
        ports: [{ port: 80 }, { name: 'b', port: 81, protocol: 'UDP', appProtocol: 'kubernetes.io/h2c' }],
      });
      return [body.ports, body.endpoints];
    },
    gives: [
      [
        { name: '', protocol: 'TCP', port: 80 },
        { name: 'b', protocol: 'UDP', port: 81, appProtocol: 'kubernetes.io/h2c' },
      ],
      [{ addresses: ['198.18.0.1'], conditions: {} }],
    ],
  },
  {
    name: 'the times of a Lease have six digits',
    run: async (s) => {
      const lease = (renewTime: string): Promise<Answer> =>
        s.post('leases', 'l', { spec: { holderIdentity: 'x', leaseDurationSeconds: 15, renewTime } });
      return [
        s.brief(await lease('2026-01-01T00:00:00.123Z')),
        s.brief(await lease('2026-01-01T00:00:00Z')),
        s.brief(await lease(MICRO)),
        (await s.get('leases', 'l')).body.spec,
      ];
    },
    gives: [
      '400 BadRequest',
      '400 BadRequest',
      '201',
      { holderIdentity: 'x', leaseDurationSeconds: 15, renewTime: '2026-01-01T00:00:00.123000Z' },
    ],
  },
  {
    name: 'two want one Lease',
    run: async (s) => {
      const { body } = await s.post('leases', 'l', {
        spec: { holderIdentity: 'x', leaseDurationSeconds: 15, leaseTransitions: 0, acquireTime: MICRO, renewTime: MICRO },
      });
      const take = (holderIdentity: string): Promise<Answer> => s.put('leases', { ...body, spec: { ...body.spec, holderIdentity } });
      const without = { ...body, metadata: { name: 'l' } } as Json;
      return [
        s.brief(await take('y')),
        s.full(await take('z')),
        s.brief(await s.put('leases', without)),
        s.brief(await s.post('leases', 'l')),
      ];
    },
    gives: [
      '200',
      '409 Conflict: Operation cannot be fulfilled on leases.coordination.k8s.io "l": the object has been modified; please apply your changes to the latest version and try again',
      '422 Invalid',
      '409 AlreadyExists',
    ],
  },
  {
    name: 'a Lease of no seconds',
    run: async (s) => s.brief(await s.post('leases', 'l', { spec: { leaseDurationSeconds: 0 } })),
    gives: '422 Invalid',
  },
  {
    name: 'an Event, and the same again',
    run: async (s) => {
      const regarding = { apiVersion: 'contract.spooky.dev/v1', kind: 'Widget', name: 'w', namespace: s.ns };
      const first = await s.post('events', 'e', event({ regarding }));
      const series = { count: 2, lastObservedTime: MICRO };
      const again = await s.patch('events', 'e', MERGE, { series });
      return [first.status, first.body.note, first.body.regarding.kind, again.status, again.body.series];
    },
    gives: [201, 'n', 'Widget', 200, { count: 2, lastObservedTime: '2026-01-01T00:00:00.123000Z' }],
  },
  {
    name: 'Events that are refused',
    run: async (s) => {
      const of = async (more: Json): Promise<string> => {
        const answer = await s.post('events', 'e', event({ regarding: { kind: 'Widget', name: 'w', namespace: s.ns }, ...more }));
        return s.brief(answer);
      };
      return [
        await of({ eventTime: null }),
        await of({ eventTime: '2026-01-01T00:00:00.123Z' }),
        await of({ reportingController: '' }),
        await of({ reportingInstance: '' }),
        await of({ action: '' }),
        await of({ reason: '' }),
        await of({ type: 'Other' }),
        await of({ note: 'x'.repeat(1025) }),
        await of({ reason: 'x'.repeat(129) }),
        await of({ regarding: { kind: 'Widget', name: 'w', namespace: 'other' } }),
      ];
    },
    gives: [
      '422 Invalid',
      '400 BadRequest',
      '422 Invalid',
      '422 Invalid',
      '422 Invalid',
      '422 Invalid',
      '422 Invalid',
      '422 Invalid',
      '422 Invalid',
      '201',
    ],
  },
];
