import { describe, expect, test } from '@jest/globals';
import { helpText, parseArguments, readArguments, type Arguments, type Command, type CommandOption } from '../../src/cli/command.ts';
import { closest, editDistance } from '../../src/lib/closest.ts';

const OPTIONS: readonly CommandOption[] = [
  { flag: '--output', value: 'text|json', help: 'The form.', default: 'text' },
  { flag: '--insecure', help: 'No checks.' },
  { flag: '-H', value: "'name: value'", help: 'A header.', repeat: true },
];

const parsed = (...args: string[]): Arguments => {
  const result = parseArguments(args, OPTIONS);
  if (!result.ok) throw new Error(result.error);
  return result.value;
};

const fault = (...args: string[]): string => {
  const result = parseArguments(args, OPTIONS);
  return result.ok ? '' : result.error;
};

describe('arguments', () => {
  test('flags and the rest, in any order', () => {
    const a = parsed('GET', '--output', 'json', 'https://x/', '--insecure');
    expect([a.positional, a.value('--output'), a.has('--insecure'), a.value('--insecure')]).toEqual([
      ['GET', 'https://x/'],
      'json',
      true,
      null,
    ]);
  });

  test('a value may stand after = and be empty, or look like a flag', () => {
    expect(parsed('--output=json').value('--output')).toBe('json');
    expect(parsed('--output=').value('--output')).toBe('');
    expect(parsed('--output=a=b').value('--output')).toBe('a=b');
    expect(parsed('--output', '--insecure').value('--output')).toBe('--insecure');
  });

  test('flags that may be repeated', () => {
    expect(parsed('-H', 'a: 1', '-Hb: 2', '-H', 'a: 3').values('-H')).toEqual(['a: 1', 'b: 2', 'a: 3']);
    expect(parsed().values('-H')).toEqual([]);
  });

  test('-- ends the flags', () => {
    expect(parsed('--insecure', '--', '--output', '-').positional).toEqual(['--output', '-']);
    expect(parsed('-').positional).toEqual(['-']);
  });

  test('--help and -h win over every mistake', () => {
    expect(parsed('--nonsense', '--help').help).toBe(true);
    expect(parsed('-h').help).toBe(true);
    expect(parsed('--', '--help').help).toBe(false);
  });

  test.each([
    [['--outptu', 'x'], 'unknown flag "--outptu" (did you mean --output?)'],
    [['--nonsense=1'], 'unknown flag "--nonsense"'],
    [['-x'], 'unknown flag "-x"'],
    [['--output'], '--output needs a value: text|json'],
    [['--insecure=yes'], '--insecure takes no value'],
    [['--output', 'a', '--output', 'b'], '--output is given twice'],
    [['--__proto__'], 'unknown flag "--__proto__"'],
  ])('%j is refused', (args, message) => {
    expect(fault(...args)).toBe(message);
  });
});

const command: Command = {
  name: 'sample',
  summary: 'A sample.',
  usage: 'spooky sample [--output text|json]',
  options: OPTIONS,
  details: 'More.',
  run: () => Promise.resolve(0),
};

const io = () => {
  const out = { stdout: '', stderr: '' };
  return { out, io: { stdout: (s: string) => void (out.stdout += s), stderr: (s: string) => void (out.stderr += s), env: {}, cwd: '/' } };
};

test('help names every flag with its default', () => {
  expect(helpText(command)).toBe(
    [
      'A sample.',
      '',
      'usage: spooky sample [--output text|json]',
      '',
      'options:',
      '  --output text|json  The form. (default: text)',
      '  --insecure          No checks.',
      "  -H 'name: value'    A header.",
      '  --help              Show this text.',
      '',
      'More.',
      '',
    ].join('\n'),
  );
});

test('a mistake costs exit code 2 and says the usage', () => {
  const { out, io: i } = io();
  expect(readArguments(command, ['--outpu', 'x'], i)).toEqual({ arguments: null, exit: 2 });
  expect(out).toEqual({
    stdout: '',
    stderr: 'spooky sample: unknown flag "--outpu" (did you mean --output?)\nusage: spooky sample [--output text|json]\n',
  });
});

test('help goes to stdout with exit code 0', () => {
  const { out, io: i } = io();
  expect(readArguments(command, ['--help'], i)).toEqual({ arguments: null, exit: 0 });
  expect(out.stdout).toBe(helpText(command));
});

describe('the closest word', () => {
  test.each([
    ['weigth', ['weight', 'width'], 'weight'],
    ['Hostnames', ['hostnames'], 'hostnames'],
    ['prot', ['port', 'protocol'], 'port'],
    ['proto', ['protocol', 'backends'], 'protocol'],
    ['xyz', ['abc'], null],
    ['', ['a'], null],
    ['__proto__', ['listeners'], null],
  ])('%s', (word, known, meant) => {
    expect(closest(word, known)).toBe(meant);
  });

  test('distance counts inserts, deletes, replacements and swaps', () => {
    expect([
      editDistance('abc', 'abc', 3),
      editDistance('abc', 'acb', 3),
      editDistance('abc', 'ab', 3),
      editDistance('', 'abc', 3),
      editDistance('abcd', 'wxyz', 2),
    ]).toEqual([0, 1, 1, 3, 3]);
  });
});
