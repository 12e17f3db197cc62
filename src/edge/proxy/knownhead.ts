import { encodeHead } from '../http/h3/encodedhead.ts';
import type { KnownHead } from '../http/known.ts';
import { isUndated } from './dates.ts';
import { isCleanResponse } from './headers.ts';
import type { Plant } from './plant.ts';

const FIELD_BY_FIELD = new Uint8Array(0);

type Additions = Pick<Plant, 'via' | 'dates'>;

/**
 * The HEADERS frame in which a head that repeats is passed on, made once, or once a second where we date it; of no length when each one has to be
 * looked at, since there is something to count.
 */
export function frameOf(known: KnownHead, plant: Additions): Uint8Array {
  if (known.frame !== null && (known.date === null || known.date === plant.dates.today())) return known.frame;
  return (known.frame = makeFrame(known, plant));
}

function makeFrame(known: KnownHead, { via, dates }: Additions): Uint8Array {
  if (!isCleanResponse(known.fields)) return FIELD_BY_FIELD;
  const fields = known.fields.copy();
  if (isUndated(fields)) fields.add('date', (known.date = dates.today()));
  via.append(fields, via.response);
  return encodeHead(known.status, fields);
}
