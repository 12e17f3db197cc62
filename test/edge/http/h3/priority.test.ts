import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { priority, readPriority } from '../../../../src/edge/http/h3/priority.ts';

const read = (value: string): [number, boolean] => {
  readPriority(value);
  return [priority.urgency, priority.incremental];
};

test.each([
  ['', 3, false],
  ['u=0', 0, false],
  ['u=7', 7, false],
  ['i', 3, true],
  ['i=?1', 3, true],
  ['i=?0', 3, false],
  ['u=5, i', 5, true],
  ['i,u=5', 5, true],
  [' u=5 ,\ti ', 5, true],
  ['u=1;x=y;z, i;q="a,b"', 1, true],
  ['u=1, u=2', 2, false],
  ['i, i=?0', 3, false],
  ['other=(a "b\\"," 1);x, u=4', 4, false],
  ['other=:YWJj:, u=4', 4, false],
  ['other="a,b", u=4', 4, false],
  ['*x=1, u=4', 4, false],
  // Of another type, or out of range: as if absent.
  ['u=8', 3, false],
  ['u=-1', 3, false],
  ['u=10', 3, false],
  ['u=1.0', 3, false],
  ['u=?1', 3, false],
  ['u', 3, false],
  ['i=1', 3, false],
  ['i="x"', 3, false],
  // No dictionary: as if there were none.
  ['u=1,', 3, false],
  ['u=1 i', 3, false],
  ['u=', 3, false],
  ['=1', 3, false],
  ['U=1', 3, false],
  ['u=1, ,i', 3, false],
  ['u=1, x="', 3, false],
  ['u=1, x=(a', 3, false],
  ['u=1, x=(a"b")', 3, false],
  ['u=1;', 3, false],
  ['u=1;X', 3, false],
  ['u=1, é', 3, false],
])('%j', (value, urgency, incremental) => expect(read(value)).toEqual([urgency, incremental]));

test('whatever comes, the result is in range', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[ui=?0-9,;"()\\ .*:a-]{0,40}$/), (value) => {
      const [urgency, incremental] = read(value);
      expect(Number.isInteger(urgency) && urgency >= 0 && urgency <= 7).toBe(true);
      expect(typeof incremental).toBe('boolean');
    }),
    { numRuns: 2000 },
  );
});
