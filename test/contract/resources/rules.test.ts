import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { crdFiles } from '../../../src/cli/generate/crds.ts';
import { validateListener, validateUpstream, type Fault } from '../../../src/contract/resources/index.ts';
import { compilePattern } from '../../../src/contract/routes/regex.ts';
import { BAD_EXPRESSIONS, BASES, fieldText, RULES, specOf, type Kind } from './cases.ts';

const faultsOf = (kind: Kind, spec: unknown): readonly Fault[] =>
  (kind === 'Listener' ? validateListener : validateUpstream)(spec, { standalone: false, unknown: 'refuse' }).faults;

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly 'x-kubernetes-validations'?: readonly { message: string; fieldPath?: string }[];
}

/** Every rule of a CRD: where, and its message. */
function* rulesOf(schema: Schema, path: string): Generator<string> {
  for (const r of schema['x-kubernetes-validations'] ?? []) yield `${path}${r.fieldPath ?? ''}: ${r.message}`;
  for (const [name, inner] of Object.entries(schema.properties ?? {})) yield* rulesOf(inner, `${path}.${name}`);
  if (schema.items !== undefined) yield* rulesOf(schema.items, `${path}[]`);
  if (schema.additionalProperties !== undefined) yield* rulesOf(schema.additionalProperties, `${path}.*`);
}

test('every rule of the CRDs has a case that keeps it and one that breaks it', () => {
  const wanted = [...crdFiles().values()].flatMap((text) => {
    const crd = parse(text) as { spec: { names: { kind: string }; versions: { schema: { openAPIV3Schema: Schema } }[] } };
    const { spec } = crd.spec.versions[0]?.schema.openAPIV3Schema.properties ?? {};
    return [...rulesOf(spec as Schema, `${crd.spec.names.kind}.spec`)];
  });
  expect(wanted.length).toBeGreaterThan(90);
  const had = new Set<string>();
  for (const { kind, at, field, message, good, bad } of RULES) {
    if (good.length === 0 || bad.length === 0) continue;
    const path = fieldText(field ?? at).replaceAll(/\[\d+\]/g, '[]').replace('matchLabels.team', 'matchLabels.*'); // prettier-ignore
    had.add(`${kind}.${path}: ${message}`);
  }
  expect(wanted.filter((rule) => !had.has(rule))).toEqual([]);
  // Nor is anything in the table that servers do not check.
  expect([...had].filter((rule) => !wanted.includes(rule))).toEqual([]);
});

test.each(['Listener', 'Upstream'] as const)('the %s that the table builds on is good', (kind) => {
  expect(faultsOf(kind, BASES[kind]())).toEqual([]);
});

describe('our validation', () => {
  test.each(RULES.map((cases) => [`${cases.kind} ${fieldText(cases.field ?? cases.at)} ${cases.message}`, cases] as const))(
    '%s',
    (_, cases) => {
      for (const value of cases.good) expect([value, faultsOf(cases.kind, specOf(cases, value))]).toEqual([value, []]);
      const said = cases.ours === undefined ? { field: cases.field ?? cases.at, message: cases.message } : cases.ours;
      if (said === null) return;
      for (const value of cases.bad) {
        const faults = faultsOf(cases.kind, specOf(cases, value));
        const found = faults.some((f) => f.severity === 'error' && f.path === fieldText(said.field) && f.message.startsWith(said.message));
        expect([value, faults, found]).toEqual([value, faults, true]);
      }
    },
  );

  test('what it leaves to compile, the engine of expressions refuses', () => {
    for (const source of BAD_EXPRESSIONS) expect([source, compilePattern(source).ok]).toEqual([source, false]);
  });
});
