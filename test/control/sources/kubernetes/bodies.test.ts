import { describe, expect, test } from '@jest/globals';
import { parseBody } from '../../../../src/control/sources/kubernetes/bodies.ts';

const FILLER = 'x'.repeat(300 * 1024);
const item = (i: number): unknown => ({
  metadata: { name: `n${i}`, labels: { 'a"b\\': ']}{[', größe: '🎃' } },
  list: [[], {}, [1, { b: null }]],
  n: i,
});
const list = (n: number, more: Record<string, unknown> = {}): unknown => ({
  kind: 'List',
  metadata: { resourceVersion: '1', filler: FILLER, tricky: '"items":[{' },
  items: Array.from({ length: n }, (_, i) => item(i)),
  ...more,
});

const parse = (text: string): Promise<unknown> => parseBody(Buffer.from(text));

test('no body is null', async () => {
  expect(await parse('')).toBeNull();
});

test('a short body is parsed as it is', async () => {
  expect(await parse('{"items":[{"a":1}]}')).toEqual({ items: [{ a: 1 }] });
  await expect(parse('<html>')).rejects.toThrow(SyntaxError);
});

describe('a long body', () => {
  test.each<[string, unknown]>([
    ['with items', list(100)],
    ['with one item', list(1)],
    ['without any', list(0)],
    ['with more behind them', list(3, { zzz: { items: [1] } })],
    ['whose items are no objects', list(0, { items: [1, 'a', [], null, { a: 1 }] })],
    ['whose items are null', list(0, { items: null })],
    ['whose items are an object', list(0, { items: { a: [{}] } })],
    ['that is no list', { data: FILLER }],
    ['that is a list of its own', [FILLER, { items: [{}] }]],
    ['that is text', FILLER],
    ['whose items are only deeper', { a: { items: [{ b: 1 }] }, filler: FILLER }],
  ])('%s is what JSON.parse makes of it', async (_what, value) => {
    for (const text of [JSON.stringify(value), JSON.stringify(value, null, 2), ` \n${JSON.stringify(value)}\n`])
      expect(await parse(text)).toEqual(value);
  });

  test('that is broken is refused, as JSON.parse would', async () => {
    const good = JSON.stringify(list(3));
    const at = good.indexOf('"items"');
    const broken = [
      ...Array.from({ length: good.length - at }, (_, i) => good.slice(0, at + i)),
      good.replace('},{"metadata"', '}{"metadata"'),
      good.replace('},{"metadata"', '},,{"metadata"'),
      good.replace(/\}\]\}$/, '},]}'),
      good.replace('"items":[', '"items":[,'),
      good.replace('"n":1', '"n":x'),
      `${good}x`,
      good.replace('"kind"', 'kind'),
    ];
    for (const text of broken) {
      expect(text).not.toBe(good);
      await expect(parse(text)).rejects.toThrow(SyntaxError);
    }
  });

  test('lets the event loop turn', async () => {
    let turns = 0;
    let on = true;
    const turn = (): void => {
      turns++;
      if (on) setImmediate(turn);
    };
    setImmediate(turn);
    const slices = {
      metadata: {},
      items: Array.from({ length: 3000 }, () => ({ endpoints: Array.from({ length: 50 }, (_, i) => ({ addresses: [`10.0.0.${i}`] })) })),
    };
    await parse(JSON.stringify(slices));
    on = false;
    expect(turns).toBeGreaterThan(2);
  });
});
