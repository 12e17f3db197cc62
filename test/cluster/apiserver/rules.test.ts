import { beforeAll, describe, expect, test } from '@jest/globals';
import { oldestMissing, startApi, type Answer, type Api, type ApiOptions } from '../api.ts';
import { BASES, fieldText, RULES, specOf, type Kind } from '../../contract/resources/cases.ts';
import { times } from '../../contract/resources/samples.ts';

const PLURAL: Readonly<Record<Kind, string>> = { Listener: 'listeners', Upstream: 'upstreams' };

interface Cause {
  readonly field: string;
  readonly message: string;
}

const missing = oldestMissing();
if (missing !== null) process.stderr.write(`without the oldest release that we support: ${missing}\n`);

const SERVERS: readonly (readonly [string, ApiOptions])[] = [
  ['the newest release', {}],
  ['the newest release, as it was at 1.33', { flags: ['--emulated-version=1.33'] }],
  ...(missing === null ? [['the oldest release', { release: 'oldest' }] as const] : []),
];

describe.each(SERVERS)('%s', (_, options) => {
  let api: Api;
  beforeAll(async () => {
    api = await startApi(options);
    // Refused here when a rule could cost more than the server allows.
    await api.crds();
    await api.namespace('web');
  }, 120_000);

  /** What the server would say to it; nothing is kept. */
  const ask = (kind: Kind, spec: unknown): Promise<Answer> =>
    api.request('POST', `/apis/spooky.dev/v1alpha1/namespaces/web/${PLURAL[kind]}?dryRun=All&fieldValidation=Strict`, {
      apiVersion: 'spooky.dev/v1alpha1',
      kind,
      metadata: { name: 'a' },
      spec,
    });

  /** Its fields are written like ours but for keys of maps: matchLabels[team]. */
  const causesOf = ({ body }: Answer): Cause[] =>
    ((body as { details?: { causes?: Cause[] } }).details?.causes ?? []).map(({ field, message }) => ({
      field: field.replaceAll(/\[([^\]\d][^\]]*)\]/g, '.$1'),
      message,
    }));

  test.each(['Listener', 'Upstream'] as const)('the %s that the table builds on is good', async (kind) => {
    expect(await ask(kind, BASES[kind]())).toMatchObject({ status: 201 });
  });

  test.each(RULES.map((cases) => [`${cases.kind} ${fieldText(cases.field ?? cases.at)} ${cases.message}`, cases] as const))(
    '%s',
    async (_title, cases) => {
      for (const value of cases.good) {
        const answer = await ask(cases.kind, specOf(cases, value));
        expect([value, answer.status, causesOf(answer)]).toEqual([value, 201, []]);
      }
      for (const value of cases.bad) {
        const answer = await ask(cases.kind, specOf(cases, value));
        const causes = causesOf(answer);
        const found = causes.some(
          (c) => c.field === fieldText(cases.failsAt ?? cases.field ?? cases.at) && c.message.endsWith(cases.message),
        );
        expect([value, answer.status, causes, found]).toEqual([value, 422, causes, true]);
      }
    },
  );

  test('the largest that the maxima allow does not cost more than a server spends', async () => {
    const host = (i: number): string => `${`${'a'.repeat(62)}.`.repeat(3)}${'b'.repeat(50)}${i}`;
    const expression = (i: number): string => `^${'(a|b)?'.repeat(80)}${i}$`;
    const field = (i: number): object => ({ name: `x-${i}`.padEnd(128, 'x'), type: 'Regex', value: expression(i) });
    const upstream = {
      ...BASES.Upstream(),
      hostnames: times(64, host),
      listeners: times(16, (i) => ({ name: `l${i}`.padEnd(253, 'l'), namespace: `n${i}`.padEnd(63, 'n') })),
      certificateRefs: times(64, (i) => ({ name: `c${i}`.padEnd(253, 'c') })),
      matches: times(64, (i) => ({
        path: i % 2 === 0 ? { value: `/${'%2f'.repeat(341)}` } : { type: 'Regex', value: `^/${'(a|b)?'.repeat(165)}${i}$` },
        methods: times(16, (m) => `M${m}`.padEnd(32, 'M')),
        ...(i < 16 ? { headers: times(8, field), query: times(8, field) } : {}),
      })),
      backends: times(16, (g) => ({
        ...(BASES.Upstream()['backends'] as object[])[0],
        name: `g${g}`,
        service: undefined,
        addresses: times(g < 8 ? 128 : 0, (i) => ({ name: `a${i}`.padEnd(63, 'a'), address: `${host(i)}:${i + 1}` })),
      })),
    };
    const written = JSON.stringify(upstream).length;
    expect(written).toBeGreaterThan(500_000);
    const answer = await ask('Upstream', upstream);
    expect([answer.status, causesOf(answer)]).toEqual([201, []]);
    const listener = {
      ...BASES.Listener(),
      hostnames: times(64, host),
      addresses: times(16, (i) => `2001:db8:1111:2222:3333:4444:5555:${1000 + i}`),
      tls: { certificateRefs: times(64, (i) => ({ name: `c${i}`.padEnd(253, 'c'), namespace: 'n'.repeat(63) })) },
      forwarded: { trust: times(64, (i) => `2001:db8:1111:2222:3333:4444:5555:${1000 + i}/128`) },
      allowedNamespaces: {
        from: 'Selector',
        selector: {
          matchLabels: Object.fromEntries(times(64, (i) => [`l${i}`, 'v'.repeat(63)])),
          matchExpressions: times(64, (i) => ({ key: `k${i}`, operator: 'In', values: times(64, (v) => `v${v}`.padEnd(63, 'v')) })),
        },
      },
    };
    const other = await ask('Listener', listener);
    expect([other.status, causesOf(other)]).toEqual([201, []]);
  });
});
