import { expect, test } from '@jest/globals';
import { Fields } from '../../../src/edge/http/fields.ts';
import { Via } from '../../../src/edge/proxy/via.ts';

const via = new Via('spooky-0a1b2c3d');

const fieldsOf = (...pairs: [string, string][]): Fields => {
  const f = new Fields();
  for (const [name, value] of pairs) f.add(name, value);
  return f;
};

test('finds itself as a word in any line and position', () => {
  for (const value of ['3 spooky-0a1b2c3d', '1.1 a, 3 spooky-0a1b2c3d', '3 spooky-0a1b2c3d (x), 2 b', '3\tspooky-0a1b2c3d,2 b']) {
    expect([value, via.seenIn(fieldsOf(['via', value]))]).toEqual([value, true]);
  }
  expect(via.seenIn(fieldsOf(['via', '1.1 a'], ['x', 'y'], ['via', '3 spooky-0a1b2c3d']))).toBe(true);
});

test('another installation, a longer word and another field are no loop', () => {
  for (const value of ['3 spooky-0a1b2c3e', '3 spooky-0a1b2c3d9', '3 xspooky-0a1b2c3d', '3 spooky-0a1b2c3d.example']) {
    expect([value, via.seenIn(fieldsOf(['via', value]))]).toEqual([value, false]);
  }
  expect(via.seenIn(fieldsOf(['x-via', '3 spooky-0a1b2c3d']))).toBe(false);
});

test('appends behind the last hop', () => {
  const none = fieldsOf(['a', 'b']);
  via.append(none, via.request);
  expect(none.get('via')).toBe('3 spooky-0a1b2c3d');
  const some = fieldsOf(['via', '1.1 a'], ['via', '2 b']);
  via.append(some, via.response);
  expect(some.values).toEqual(['1.1 a', '2 b, 2 spooky-0a1b2c3d']);
});
