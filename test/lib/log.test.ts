import { describe, expect, test } from '@jest/globals';
import { parseLevel, type Level } from '../../src/lib/level.ts';
import { createLog, type LogFormat } from '../../src/lib/log.ts';
import { Secret } from '../../src/lib/secret.ts';

const record = (format: LogFormat, level: Level = 'info') => {
  const lines: string[] = [];
  const log = createLog({ level, format, write: (line) => lines.push(line), wall: () => Date.UTC(2026, 10, 21) });
  return { log, lines };
};

describe('levels', () => {
  test.each([
    ['trace', 'trace'],
    ['whisper', 'trace'],
    ['haunt', 'debug'],
    ['spooky', 'info'],
    ['SCREAM', 'warn'],
    ['poltergeist', 'error'],
    ['silence', 'off'],
    ['off', 'off'],
  ])('%s is %s', (name, level) => expect(parseLevel(name)).toBe(level));

  test('an unknown name is none', () => expect(parseLevel('loud')).toBeNull());

  test('lines below the threshold are not written, and the threshold moves', () => {
    const { log, lines } = record('json', 'warn');
    log.info('a');
    log.warn('b');
    log.setLevel('debug');
    log.debug('c');
    log.at('haunt', 'd');
    log.at('whisper', 'e');
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(['b', 'c', 'd']);
  });

  test('always passes any threshold but off', () => {
    const { log, lines } = record('json', 'error');
    log.always('ready');
    log.setLevel('off');
    log.always('ready');
    log.error('x');
    expect(lines).toHaveLength(1);
  });
});

test('a JSON line has level, time and msg, then the fields', () => {
  const { log, lines } = record('json');
  log.info('ready', { workers: 1, addresses: ['127.0.0.1:1'] });
  expect(lines).toEqual(['{"level":"info","time":"2026-11-21T00:00:00.000Z","workers":1,"addresses":["127.0.0.1:1"],"msg":"ready"}\n']);
});

test('a plain line shows the ghost name and stays one line', () => {
  const { log, lines } = record('plain');
  log.warn('a\nb', { path: '/x y', n: 2 });
  expect(lines).toEqual(['2026-11-21T00:00:00.000Z scream      a\\nb path="/x y" n=2\n']);
});

test.each(['json', 'plain'] as const)('%s: control characters are escaped, values cut, secrets redacted', (format) => {
  const { log, lines } = record(format);
  log.info('m\u001b[31m\u009b\u2028', {
    evil: '\r\n\u001b]0;x\u0007\u0085',
    long: 'y'.repeat(100_000),
    secret: new Secret(Buffer.from('hunter2')),
    deep: new Map([['k', [new Error('boom')]]]),
  });
  const text = lines.join('');
  expect(text.slice(0, -1)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
  expect(text.length).toBeLessThan(8000);
  expect(text).toContain('[redacted]');
  expect(text).not.toContain('hunter2');
  expect(text).toContain('boom');
});

test('fields cannot forge level, time or msg, and names like __proto__ are names', () => {
  const { log, lines } = record('json');
  log.info('real', JSON.parse('{"msg":"forged","level":"error","time":"never","__proto__":{"x":1}}') as Record<string, unknown>);
  const line = lines[0] as string;
  expect(line.match(/"msg":/g)).toHaveLength(1);
  expect(line.match(/"level":/g)).toHaveLength(1);
  expect(JSON.parse(line)).toMatchObject({ msg: 'real', level: 'info', msg_: 'forged' });
});
