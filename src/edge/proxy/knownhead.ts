import { encodeHead } from '../http/h3/encodedhead.ts';
import type { KnownHead } from '../http/known.ts';
import { isCleanResponse } from './headers.ts';
import type { Via } from './via.ts';

const FIELD_BY_FIELD = new Uint8Array(0);

/** The HEADERS frame in which a head that repeats is passed on, made once; of no length when each one has to be looked at, since there is something to count. */
export function frameOf(known: KnownHead, via: Via): Uint8Array {
  known.frame ??= makeFrame(known, via);
  return known.frame;
}

function makeFrame(known: KnownHead, via: Via): Uint8Array {
  if (!isCleanResponse(known.fields)) return FIELD_BY_FIELD;
  const fields = known.fields.copy();
  via.append(fields, via.response);
  return encodeHead(known.status, fields);
}
