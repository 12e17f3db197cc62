import { expect, test } from '@jest/globals';
import { AccessLog, millis, quoted } from '../../../src/edge/proxy/accesslog.ts';

const turn = (): Promise<void> => new Promise((done) => setImmediate(done));

test('a value cannot end the line, steer a terminal, or pass for another', () => {
  const hostile = 'a"b\\c\nd\re\u001b[2Jf\u0000g\u007fh\u009bi\u00e9j';
  const text = quoted(hostile);
  expect(JSON.parse(text)).toBe(hostile);
  expect(/^[\x20-\x7e]*$/.test(text)).toBe(true);
  expect(quoted(null)).toBe('null');
  expect(quoted('plain')).toBe('"plain"');
});

test('values are cut', () => {
  expect(quoted('x'.repeat(5000))).toBe(`"${'x'.repeat(1024)}"`);
  expect(JSON.parse(quoted('\n'.repeat(5000)))).toBe('\n'.repeat(1024));
});

test('milliseconds: absent below zero, three decimals', () => {
  expect(millis(-1)).toBe('null');
  expect(millis(1.23456)).toBe('1.235');
  expect(millis(0)).toBe('0');
});

test('modes', () => {
  const wants = (mode: 'off' | 'errors' | 'all') => {
    const log = new AccessLog(
      mode,
      () => {},
      () => {},
    );
    return [log.wants(200, true), log.wants(404, true), log.wants(404, false), log.wants(500, true)];
  };
  expect(wants('off')).toEqual([false, false, false, false]);
  expect(wants('errors')).toEqual([false, false, true, true]);
  expect(wants('all')).toEqual([true, true, true, true]);
});

test('lines of one turn leave together; a large batch at once; a throwing sink is contained', async () => {
  const sent: string[] = [];
  const log = new AccessLog(
    'all',
    (lines) => sent.push(lines),
    () => {},
  );
  log.add('a');
  log.add('b');
  expect(sent).toEqual([]);
  await turn();
  expect(sent).toEqual(['a\nb\n']);
  log.add('x'.repeat(40_000));
  expect(sent.length).toBe(2);

  const errors: unknown[] = [];
  const broken = new AccessLog(
    'all',
    () => {
      throw new Error('sink');
    },
    (e) => errors.push(e),
  );
  broken.add('a');
  await turn();
  expect(errors.map(String)).toEqual(['Error: sink']);
});
