import type { Fields } from '../../src/edge/http/fields.ts';

/** Which of the fields are never-indexed, in order. */
export const neverOf = (fields: Fields): boolean[] => fields.names.map((_, i) => fields.isNever(i));
