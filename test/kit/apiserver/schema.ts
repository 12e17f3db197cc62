/** Structural schemas of custom resources: pruned, defaulted and checked, without their CEL rules. */
import { clone, isPlain, type Cause, type Plain, type Schema } from './model.ts';

/** Drops what the schema does not name; gives the paths that were dropped. */
export function prune(value: unknown, schema: Schema, path = ''): string[] {
  if (schema['x-kubernetes-preserve-unknown-fields'] === true) return [];
  if (Array.isArray(value))
    return schema.items === undefined ? [] : value.flatMap((item, i) => prune(item, schema.items as Schema, `${path}[${i}]`));
  if (!isPlain(value)) return [];
  const dropped: string[] = [];
  for (const name of Object.keys(value)) {
    const at = path === '' ? name : `${path}.${name}`;
    if (path === '' && (name === 'apiVersion' || name === 'kind' || name === 'metadata')) continue;
    const member = schema.properties?.[name] ?? (typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined);
    if (member !== undefined) dropped.push(...prune(value[name], member, at));
    else if (schema.additionalProperties !== true) {
      delete value[name];
      dropped.push(at);
    }
  }
  return dropped;
}

/** Nulls that may not be go (of what a client sends, not of what a merge leaves), then defaults come where their parent is. */
export function fill(value: unknown, schema: Schema, nulls: 'go' | 'stay' = 'go'): void {
  if (Array.isArray(value)) {
    if (schema.items !== undefined) for (const item of value) fill(item, schema.items, nulls);
    return;
  }
  if (!isPlain(value)) return;
  for (const [name, member] of Object.entries(schema.properties ?? {})) {
    if (nulls === 'go' && value[name] === null && member.nullable !== true) delete value[name];
    if (value[name] === undefined && member.default !== undefined) value[name] = clone(member.default);
    if (value[name] !== undefined) fill(value[name], member, nulls);
  }
  if (typeof schema.additionalProperties === 'object')
    for (const inner of Object.values(value)) fill(inner, schema.additionalProperties, nulls);
}

const quote = (value: unknown): string => JSON.stringify(value);

const typeOf = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : Number.isInteger(value) ? 'integer' : typeof value;

function typeFits(value: unknown, schema: Schema): boolean {
  const type = typeOf(value);
  if (schema['x-kubernetes-int-or-string'] === true) return type === 'integer' || type === 'string';
  if (schema.type === undefined || (value === null && schema.nullable === true)) return true;
  return schema.type === type || (schema.type === 'number' && type === 'integer');
}

export function check(value: unknown, schema: Schema, field = ''): Cause[] {
  if (!typeFits(value, schema)) return wrongType(value, schema, field === '' ? '<nil>' : field);
  const causes = [...bounds(value, schema, field)];
  if (Array.isArray(value)) causes.push(...items(value, schema, field));
  else if (isPlain(value)) causes.push(...membersOf(value, schema, field));
  return causes;
}

function wrongType(value: unknown, schema: Schema, field: string): Cause[] {
  const is = JSON.stringify(typeOf(value));
  // The status is checked as a thing of its own, which has no name there.
  const name = field === 'status' ? '' : field;
  const message = `Invalid value: ${is}: ${name} in body must be of type ${schema.type ?? 'integer,string'}: ${is}`;
  const causes: Cause[] = [{ reason: 'FieldValueTypeInvalid', message, field }];
  if (schema.type === 'integer' && typeof value === 'number') {
    const again = `Invalid value: "": Checked value must be of type integer (default format) in ${field}`;
    causes.push({ reason: 'FieldValueInvalid', message: again, field: '<nil>' });
  }
  return causes;
}

function membersOf(value: Plain, schema: Schema, field: string): Cause[] {
  const causes: Cause[] = [];
  const at = (name: string): string => (field === '' ? name : `${field}.${name}`);
  for (const name of schema.required ?? []) {
    if (value[name] === undefined) causes.push({ reason: 'FieldValueRequired', message: 'Required value', field: at(name) });
  }
  for (const [name, inner] of Object.entries(value)) {
    const member = schema.properties?.[name] ?? (typeof schema.additionalProperties === 'object' ? schema.additionalProperties : undefined);
    if (member !== undefined && !(field === '' && name === 'metadata')) causes.push(...check(inner, member, at(name)));
  }
  return causes;
}

function items(value: readonly unknown[], schema: Schema, field: string): Cause[] {
  const causes = value.flatMap((item, i) => (schema.items === undefined ? [] : check(item, schema.items, `${field}[${i}]`)));
  const keys = schema['x-kubernetes-list-map-keys'];
  const form = schema['x-kubernetes-list-type'];
  if (form !== 'map' && form !== 'set') return causes;
  const seen = new Set<string>();
  value.forEach((item, i) => {
    const key = form === 'set' || !isPlain(item) ? quote(item) : quote(Object.fromEntries((keys ?? []).map((k) => [k, item[k]])));
    if (seen.has(key)) causes.push({ reason: 'FieldValueDuplicate', message: `Duplicate value: ${key}`, field: `${field}[${i}]` });
    seen.add(key);
  });
  return causes;
}

function* bounds(value: unknown, schema: Schema, field: string): Generator<Cause> {
  const wrong = (why: string): Cause => ({
    reason: 'FieldValueInvalid',
    message: `Invalid value: ${quote(value)}: ${field} in body should ${why}`,
    field,
  });
  if (schema.enum !== undefined && !schema.enum.includes(value)) {
    const known = schema.enum.map(quote).join(', ');
    yield { reason: 'FieldValueNotSupported', message: `Unsupported value: ${quote(value)}: supported values: ${known}`, field };
  }
  if (typeof value === 'number') {
    if (schema.minimum !== undefined && value < schema.minimum) yield wrong(`be greater than or equal to ${schema.minimum}`);
    if (schema.maximum !== undefined && value > schema.maximum) yield wrong(`be less than or equal to ${schema.maximum}`);
  }
  if (typeof value === 'string') {
    const length = [...value].length;
    if (schema.minLength !== undefined && length < schema.minLength) yield wrong(`be at least ${schema.minLength} chars long`);
    if (schema.maxLength !== undefined && length > schema.maxLength)
      yield { ...wrong(''), reason: 'FieldValueTooLong', message: `Too long: may not be more than ${schema.maxLength} bytes` };
    if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(value)) yield wrong(`match '${schema.pattern}'`);
  }
  if (Array.isArray(value)) {
    if (schema.minItems !== undefined && value.length < schema.minItems) yield wrong(`have at least ${schema.minItems} items`);
    if (schema.maxItems !== undefined && value.length > schema.maxItems) {
      yield { ...wrong(''), reason: 'FieldValueTooMany', message: `Too many: ${value.length}: must have at most ${schema.maxItems} items` };
    }
  }
}
