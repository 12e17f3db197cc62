/** What a value of the chart is: values.yaml, its schema and the chart's README are three ways to write one table. */

export type Json = { readonly [key: string]: unknown };

export interface Leaf {
  readonly kind: 'leaf';
  readonly help: string;
  readonly default: unknown;
  /** JSON Schema, draft 7, without description. */
  readonly schema: Json;
}

export interface Group {
  readonly kind: 'group';
  readonly help: string;
  readonly members: Readonly<Record<string, Value>>;
}

export type Value = Leaf | Group;

export const leaf = (help: string, fallback: unknown, schema: Json): Leaf => ({ kind: 'leaf', help, default: fallback, schema });
export const group = (help: string, members: Readonly<Record<string, Value>>): Group => ({ kind: 'group', help, members });

export const text = (help: string, fallback = '', more: Json = {}): Leaf => leaf(help, fallback, { type: 'string', ...more });
export const flag = (help: string, fallback: boolean): Leaf => leaf(help, fallback, { type: 'boolean' });
export const choice = (help: string, words: readonly unknown[], fallback: unknown): Leaf => leaf(help, fallback, { enum: words });
export const integer = (help: string, fallback: number, minimum: number, maximum: number): Leaf =>
  leaf(help, fallback, { type: 'integer', minimum, maximum });

const DURATION = '^([0-9]{1,5}(h|ms|m|s)){1,4}$';
export const duration = (help: string, fallback: string): Leaf => text(help, fallback, { pattern: DURATION });

/** Names of namespaces and of most objects (RFC 1123). */
export const NAME: Json = { type: 'string', pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$', maxLength: 63 };
export const nameOrNone = (help: string): Leaf => text(help, '', { pattern: '^([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?$', maxLength: 253 });

export const list = (help: string, items: Json, fallback: readonly unknown[] = []): Leaf => leaf(help, fallback, { type: 'array', items });
export const names = (help: string): Leaf => leaf(help, [], { type: 'array', items: NAME, uniqueItems: true });
/** Annotations and labels: YAML that is a number or a boolean would be refused by the API server, with a longer message. */
export const strings = (help: string): Leaf => leaf(help, {}, { type: 'object', additionalProperties: { type: 'string' } });
/** What Kubernetes defines: its API server judges the content. */
export const objects = (help: string): Leaf => list(help, { type: 'object' });
export const object = (help: string, fallback: Json = {}): Leaf => leaf(help, fallback, { type: 'object' });

const QUANTITY = { type: 'string', pattern: '^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$' };
const QUANTITIES: Json = {
  type: 'object',
  properties: {
    cpu: {
      anyOf: [
        { type: 'string', pattern: '^[0-9]+(\\.[0-9]+)?m?$' },
        { type: 'number', minimum: 0 },
      ],
    },
    memory: QUANTITY,
    'ephemeral-storage': QUANTITY,
  },
  additionalProperties: { type: ['string', 'integer'] },
};
export const resources = (help: string, fallback: Json): Leaf =>
  leaf(help, fallback, {
    type: 'object',
    properties: { requests: QUANTITIES, limits: QUANTITIES, claims: { type: 'array', items: { type: 'object' } } },
    additionalProperties: false,
  });

export const isGroup = (value: Value): value is Group => value.kind === 'group';

/** Every leaf with its path: `exposure.type`. */
export function* leaves(members: Readonly<Record<string, Value>>, path = ''): Generator<readonly [string, Leaf]> {
  for (const [name, value] of Object.entries(members)) {
    const at = path === '' ? name : `${path}.${name}`;
    if (isGroup(value)) yield* leaves(value.members, at);
    else yield [at, value];
  }
}
