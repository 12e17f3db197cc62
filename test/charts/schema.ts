/** As much of JSON Schema as the chart's schema is written in; a word that is not known here is an error, not a rule passed by. */
type Json = Readonly<Record<string, unknown>>;

const typeOf = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : Number.isInteger(value) ? 'integer' : typeof value;

const isType = (value: unknown, type: string): boolean => typeOf(value) === type || (type === 'number' && typeof value === 'number');

type Rule = (value: unknown, said: unknown, schema: Json, at: string) => string[];

const fault = (at: string, text: string, yes: boolean): string[] => (yes ? [] : [`${at}: ${text}`]);
const own = (value: unknown): Json => value as Json;

const RULES: Readonly<Record<string, Rule>> = {
  $schema: () => [],
  title: () => [],
  description: () => [],
  type: (value, said, _, at) => {
    const types = ([] as unknown[]).concat(said).map(String);
    return fault(
      at,
      `is ${typeOf(value)}, not ${types.join(' or ')}`,
      types.some((t) => isType(value, t)),
    );
  },
  enum: (value, said, _, at) => fault(at, `is none of ${JSON.stringify(said)}`, (said as unknown[]).includes(value)),
  pattern: (value, said, _, at) => fault(at, `does not match ${said}`, typeof value !== 'string' || new RegExp(said as string).test(value)),
  minLength: (value, said, _, at) => fault(at, 'is too short', typeof value !== 'string' || value.length >= (said as number)),
  maxLength: (value, said, _, at) => fault(at, 'is too long', typeof value !== 'string' || value.length <= (said as number)),
  minimum: (value, said, _, at) => fault(at, 'is too small', typeof value !== 'number' || value >= (said as number)),
  maximum: (value, said, _, at) => fault(at, 'is too large', typeof value !== 'number' || value <= (said as number)),
  uniqueItems: (value, _said, _, at) => fault(at, 'has one twice', !Array.isArray(value) || new Set(value).size === value.length),
  required: (value, said, _, at) =>
    (said as string[]).flatMap((name) => fault(at, `lacks ${name}`, typeOf(value) !== 'object' || Object.hasOwn(own(value), name))),
  items: (value, said, _, at) => (Array.isArray(value) ? value.flatMap((item, i) => judge(item, own(said), `${at}[${i}]`)) : []),
  anyOf: (value, said, _, at) =>
    fault(
      at,
      'fits none of the alternatives',
      (said as Json[]).some((one) => judge(value, one, at).length === 0),
    ),
  properties: (value, said, _, at) =>
    typeOf(value) === 'object'
      ? Object.entries(own(value)).flatMap(([name, inner]) =>
          Object.hasOwn(own(said), name) ? judge(inner, own(own(said)[name]), `${at}.${name}`) : [],
        )
      : [],
  additionalProperties: (value, said, schema, at) =>
    typeOf(value) === 'object'
      ? Object.entries(own(value)).flatMap(([name, inner]) => {
          if (Object.hasOwn(own(schema['properties'] ?? {}), name)) return [];
          return said === false ? [`${at}.${name}: is unknown`] : judge(inner, own(said), `${at}.${name}`);
        })
      : [],
};

export const judge = (value: unknown, schema: Json, at = ''): string[] =>
  Object.entries(schema).flatMap(([word, said]) => {
    const rule = RULES[word];
    if (rule === undefined) throw new Error(`${at}: the schema says ${word}`);
    return rule(value, said, schema, at);
  });

const isMap = (value: unknown): value is Json => typeOf(value) === 'object';

/** As Helm puts values over the chart's: maps one into the other, and null takes away. It judges what comes of that. */
export const over = (defaults: Json, given: Json): Json =>
  Object.fromEntries(
    Object.entries({ ...defaults, ...given })
      .map(([name, value]) => [name, isMap(value) && isMap(defaults[name]) ? over(defaults[name], value) : value] as const)
      .filter(([, value]) => value !== null),
  );
