import { expect, test } from '@jest/globals';
import { Memo } from '../../../src/control/compile/index.ts';

test('what is in use is found by its text again, and of what was in use there is an end', () => {
  const memo = new Memo();
  const made: string[] = [];
  const ask = (text: string): object =>
    memo.of(
      {},
      'upstream',
      () => text,
      () => {
        made.push(text);
        return { text };
      },
    );
  const known = (text: string): boolean => {
    const before = made.length;
    ask(text);
    return made.length === before;
  };
  // One Upstream that changes all day long.
  for (let i = 0; i < 50_000; i++) {
    memo.turn(1);
    ask(`change ${i}`);
  }
  expect(known('change 49999')).toBe(true);
  expect(Array.from({ length: 45_000 }, (_, i) => known(`change ${i}`)).filter(Boolean)).toEqual([]);

  const many = new Memo();
  for (let i = 0; i < 10_000; i++) many.of({}, 'upstream', String.bind(null, i), () => ({ i }));
  // Sources that read again make new objects of the same content.
  many.turn(10_000);
  for (let i = 0; i < 10_000; i++)
    many.of({}, 'upstream', String.bind(null, i), () => {
      throw new Error(`${i} is forgotten`);
    });
});
