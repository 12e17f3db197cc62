import { beforeAll, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { validateListener, validateUpstream } from '../../../src/contract/resources/index.ts';
import { BASES, RULES, type Kind } from '../../contract/resources/cases.ts';
import { withField } from '../../contract/resources/samples.ts';
import { startApi, type Api } from '../api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
  await api.crds();
}, 120_000);

/** Every field of a spec, in the words of `withField`. */
function fields(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null) return path === '' ? [] : [path];
  const below = Object.entries(value).flatMap(([name, inner]) => fields(inner, path === '' ? name : `${path}.${name}`));
  return path === '' ? below : [path, ...below];
}

/** What others have tried in one place, in any place; and what nobody would write. */
const tried = RULES.flatMap((r) => [...r.good, ...r.bad]).filter((v) => v !== undefined);
const value = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...tried) },
  {
    weight: 2,
    arbitrary: fc.constantFrom<unknown>(
      0,
      1,
      -1,
      65536,
      1.5,
      true,
      '',
      '0',
      [],
      {},
      'Auto',
      'None',
      'H2C',
      2 ** 31,
      2 ** 53,
      '\u0000',
      '\u{1F47B}',
    ),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 20 }) },
);

const specOf = (kind: Kind): fc.Arbitrary<Record<string, unknown>> => {
  const base = BASES[kind]();
  const change = fc.tuple(fc.constantFrom(...fields(base, '')), value);
  return fc.array(change, { minLength: 1, maxLength: 2 }).map((changes) =>
    changes.reduce((spec, [path, v]) => {
      try {
        return withField(spec, path, v);
      } catch {
        return spec;
      }
    }, base),
  );
};

/** What a server leaves to the controller, because CEL cannot say it or cannot afford it. */
const STRICTER = [/statuses\[\d+\] must be a status like/, /addresses\[\d+\]\.address must be host:port/];

/** What compile finds out. */
const LATER = /Illegal regex/;

test.each([
  ['Listener', 'listeners', validateListener],
  ['Upstream', 'upstreams', validateUpstream],
] as const)(
  'a %s with anything in one place or two: the server and our validation say the same',
  async (kind, plural, validate) => {
    await api.namespace('random');
    const verdicts = { accepted: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(specOf(kind), async (spec) => {
        const { status, body } = await api.request(
          'POST',
          `/apis/spooky.dev/v1alpha1/namespaces/random/${plural}?dryRun=All&fieldValidation=Strict`,
          { apiVersion: 'spooky.dev/v1alpha1', kind, metadata: { name: 'a' }, spec },
        );
        verdicts[status === 201 ? 'accepted' : 'refused'] += 1;
        const { faults } = validate(spec, { standalone: false, unknown: 'refuse' });
        const said = (body as { message?: string }).message ?? '';
        const words = faults.map((f) => `${f.path} ${f.message}`);
        if (status === 201)
          expect({ spec, beyond: words.filter((w) => !STRICTER.some((known) => known.test(w))) }).toEqual({ spec, beyond: [] });
        else expect({ spec, said, refused: words.length > 0 || LATER.test(said) }).toEqual({ spec, said, refused: true });
      }),
      { numRuns: Number(process.env['SPOOKY_FUZZ_COUNT'] ?? 600), seed: Number(process.env['SPOOKY_FUZZ_SEED'] ?? 1) },
    );
  },
  120_000,
);
