/** A schema as a tree of plain facts: what the walker over unknown fields, the CRDs and the reference page read. */
import { z } from 'zod';
import { INFO, type FieldInfo } from './fields.ts';

export interface Member {
  readonly shape: Shape;
  readonly required: boolean;
  /** undefined: none. An object whose members have defaults has `{}`. */
  readonly fallback: unknown;
  readonly standalone: boolean;
  readonly clusterRequired: boolean;
}

export type Shape =
  | { readonly kind: 'object'; readonly info: FieldInfo; readonly members: ReadonlyMap<string, Member> }
  | { readonly kind: 'list'; readonly info: FieldInfo; readonly item: Shape }
  | { readonly kind: 'map'; readonly info: FieldInfo; readonly item: Shape }
  | { readonly kind: 'leaf'; readonly info: FieldInfo };

const infoOf = (schema: z.core.$ZodType): FieldInfo => {
  const info = INFO.get(schema);
  if (info === undefined) throw new TypeError('a schema that no builder made');
  return info;
};

function memberOf(schema: z.core.$ZodType): Member {
  let inner = schema;
  let optional = false;
  let standalone = false;
  let clusterRequired = false;
  let fallback: unknown;
  for (;;) {
    const info = INFO.get(inner);
    standalone ||= info?.standalone ?? false;
    clusterRequired ||= info?.clusterRequired ?? false;
    if (inner instanceof z.ZodOptional) {
      optional = true;
      inner = inner.def.innerType;
    } else if (inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
      optional = true;
      fallback = inner.def.defaultValue;
      inner = inner.def.innerType;
    } else break;
  }
  return { shape: shapeOf(inner), required: !optional, fallback, standalone, clusterRequired };
}

export function shapeOf(schema: z.core.$ZodType): Shape {
  const info = infoOf(schema);
  if (schema instanceof z.ZodObject) {
    const members = new Map<string, Member>();
    for (const [name, member] of Object.entries(schema.shape)) members.set(name, memberOf(member));
    return { kind: 'object', info, members };
  }
  if (schema instanceof z.ZodArray) return { kind: 'list', info, item: shapeOf(schema.element) };
  if (schema instanceof z.ZodRecord) return { kind: 'map', info, item: shapeOf(schema.valueType) };
  return { kind: 'leaf', info };
}
