/** The CRDs, from the schemas: structural, with the same rules in CEL, and with default, range and format in words, since `kubectl explain` shows none of them. */
import { createHash } from 'node:crypto';
import { stringify } from 'yaml';
import { SHAPES, type FieldInfo, type Member, type Shape } from '../../contract/resources/index.ts';

export const GROUP = 'spooky.dev';
export const VERSION = 'v1alpha1';

type Json = { readonly [key: string]: unknown };

interface KindNames {
  readonly kind: keyof typeof SHAPES;
  readonly plural: string;
  readonly singular: string;
  readonly short: string;
  readonly columns: readonly Json[];
  readonly selectable: readonly string[];
}

const condition = (at: string, type: string, field = 'status'): string => `${at}.conditions[?(@.type=='${type}')].${field}`;

const KINDS: readonly KindNames[] = [
  {
    kind: 'Listener',
    plural: 'listeners',
    singular: 'listener',
    short: 'lsn',
    columns: [
      { name: 'Port', type: 'integer', jsonPath: '.spec.port' },
      // The first of them: a column shows one value.
      { name: 'Address', type: 'string', jsonPath: '.status.addresses[*].value' },
      { name: 'Upstreams', type: 'integer', jsonPath: '.status.attachedUpstreams' },
      { name: 'Accepted', type: 'string', jsonPath: condition('.status', 'Accepted') },
      { name: 'Resolved', type: 'string', jsonPath: condition('.status', 'ResolvedRefs') },
      { name: 'Programmed', type: 'string', jsonPath: condition('.status', 'Programmed') },
      { name: 'Published', type: 'string', jsonPath: condition('.status', 'Published'), priority: 1 },
      { name: 'Reason', type: 'string', jsonPath: condition('.status', 'Accepted', 'reason'), priority: 1 },
      { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
    ],
    selectable: ['.spec.className', '.spec.port'],
  },
  {
    kind: 'Upstream',
    plural: 'upstreams',
    singular: 'upstream',
    short: 'ups',
    columns: [
      { name: 'Hostnames', type: 'string', jsonPath: '.spec.hostnames' },
      { name: 'Attached', type: 'string', jsonPath: '.status.installations[0].attached' },
      { name: 'Endpoints', type: 'integer', jsonPath: '.status.installations[0].endpoints.ready', description: 'Those that serve.' },
      { name: 'Accepted', type: 'string', jsonPath: condition('.status.installations[0]', 'Accepted') },
      { name: 'Resolved', type: 'string', jsonPath: condition('.status.installations[0]', 'ResolvedRefs') },
      { name: 'Programmed', type: 'string', jsonPath: condition('.status.installations[0]', 'Programmed') },
      { name: 'Conflicted', type: 'string', jsonPath: condition('.status.installations[0]', 'Conflicted'), priority: 1 },
      { name: 'Reason', type: 'string', jsonPath: condition('.status.installations[0]', 'Accepted', 'reason'), priority: 1 },
      { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
    ],
    selectable: [],
  },
];

/** Value as people write it in YAML. */
const inWords = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

function describe(info: FieldInfo, member: Member | null): string {
  const said = [info.help];
  const fallback = member === null || isBare(member.fallback) ? undefined : member.fallback;
  if (fallback !== undefined) said.push(`Default: ${inWords(fallback)}.`);
  if (info.range !== '' && info.leaf?.enum === undefined && info.leaf?.type !== 'boolean') said.push(`Range: ${info.range}.`);
  // A tool that explains a field calls a number or text an object.
  if (info.format !== '') said.push(`Format: ${info.format}${info.leaf?.intOrString ? ', a number or text' : ''}.`);
  return said.filter((s) => s !== '').join(' ');
}

const isBare = (fallback: unknown): boolean =>
  typeof fallback === 'object' && fallback !== null && !Array.isArray(fallback) && Object.keys(fallback).length === 0;

/** The fields of an object that have defaults: an object's default spells them where rules use them, since the server judges a default before it completes it. */
function spelled(shape: Shape): Json {
  const defaults: Record<string, unknown> = {};
  if (shape.kind !== 'object' || !shape.info.rules.some((r) => r.cel !== '')) return defaults;
  for (const [name, member] of shape.members)
    if (member.fallback !== undefined && !isBare(member.fallback)) defaults[name] = member.fallback;
  return defaults;
}

function validations(info: FieldInfo): Json {
  const rules = info.rules.filter((r) => r.cel !== '');
  if (rules.length === 0) return {};
  return {
    'x-kubernetes-validations': rules.map((r) => ({
      rule: r.cel,
      message: r.message,
      ...(r.at.length === 0 ? {} : { fieldPath: r.at.map((s) => `.${s}`).join('') }),
    })),
  };
}

function leaf(info: FieldInfo): Json {
  const { intOrString, ...facts } = info.leaf ?? {};
  return intOrString ? { 'x-kubernetes-int-or-string': true, ...facts } : { ...facts };
}

function listType(shape: Shape & { kind: 'list' }): Json {
  const { keys } = shape.info;
  return keys.length > 0
    ? { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [...keys] }
    : { 'x-kubernetes-list-type': 'atomic' };
}

function schemaOf(shape: Shape, member: Member | null): Json {
  const { info } = shape;
  const fallback = member?.fallback;
  const base: Json = {
    description: describe(info, member),
    ...(fallback === undefined || member?.clusterRequired ? {} : { default: isBare(fallback) ? spelled(shape) : fallback }),
  };
  const [min, max] = info.bounds ?? [0, 0];
  switch (shape.kind) {
    case 'leaf':
      return { ...base, ...leaf(info), ...validations(info) };
    case 'list':
      return {
        ...base,
        type: 'array',
        ...(min > 0 ? { minItems: min } : {}),
        maxItems: max,
        ...listType(shape),
        items: schemaOf(shape.item, null),
        ...validations(info),
      };
    case 'map':
      return { ...base, type: 'object', maxProperties: max, additionalProperties: schemaOf(shape.item, null) };
    case 'object':
      return { ...base, type: 'object', ...required(shape), properties: properties(shape), ...validations(info) };
  }
}

function required(shape: Shape & { kind: 'object' }): Json {
  const names = [...shape.members].filter(([, m]) => !m.standalone && (m.required || m.clusterRequired)).map(([name]) => name);
  return names.length === 0 ? {} : { required: names };
}

function properties(shape: Shape & { kind: 'object' }): Json {
  const all: Record<string, unknown> = {};
  for (const [name, member] of shape.members) if (!member.standalone) all[name] = schemaOf(member.shape, member);
  // A client without strict validation would have these dropped, and publish without them what was to be protected.
  for (const [name, why] of shape.info.later)
    if (why === 'access')
      all[name] = {
        description: 'Not supported yet.',
        type: 'object',
        'x-kubernetes-validations': [{ rule: 'false', message: `${name} is not supported yet` }],
      };
  return all;
}

function crd(names: KindNames): Json {
  const shapes = SHAPES[names.kind];
  const spec = {
    group: GROUP,
    names: {
      kind: names.kind,
      listKind: `${names.kind}List`,
      plural: names.plural,
      singular: names.singular,
      shortNames: [names.short],
      categories: ['spooky'],
    },
    scope: 'Namespaced',
    versions: [
      {
        name: VERSION,
        served: true,
        storage: true,
        subresources: { status: {} },
        additionalPrinterColumns: names.columns,
        ...(names.selectable.length === 0 ? {} : { selectableFields: names.selectable.map((jsonPath) => ({ jsonPath })) }),
        schema: {
          openAPIV3Schema: {
            description: shapes.spec.info.help,
            type: 'object',
            required: ['spec'],
            properties: {
              apiVersion: { type: 'string' },
              kind: { type: 'string' },
              metadata: { type: 'object' },
              spec: schemaOf(shapes.spec, null),
              status: schemaOf(shapes.status, null),
            },
          },
        },
      },
    ],
  };
  // What a controller compares to know whether the server's CRD is as old as itself.
  const hash = createHash('sha256').update(JSON.stringify(spec)).digest('hex').slice(0, 16);
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${names.plural}.${GROUP}`, annotations: { [HASH_ANNOTATION]: hash } },
    spec,
  };
}

export const HASH_ANNOTATION = `${GROUP}/schema-hash`;

/** Name and hash of each CRD, as this version has it. */
export const crdHashes = (): Map<string, string> =>
  new Map(
    KINDS.map((names) => {
      const { metadata } = crd(names) as { metadata: { name: string; annotations: Record<string, string> } };
      return [metadata.name, metadata.annotations[HASH_ANNOTATION] as string];
    }),
  );

/** Path and content of each CRD. */
export function crdFiles(): Map<string, string> {
  return new Map(
    KINDS.map((names) => [
      `crds/${names.plural}.yaml`,
      `# Generated from the schemas in src/contract/resources: make generate\n${toYaml(crd(names))}`,
    ]),
  );
}

const toYaml = (value: unknown): string => stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });

/** What `spooky crds` prints. */
export const crdText = (): string => KINDS.map((names) => `---\n${toYaml(crd(names))}`).join('');
