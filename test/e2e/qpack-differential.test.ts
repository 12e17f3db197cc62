/** Our QPACK against ls-qpack (PyPI: pylsqpack), both with a dynamic table of capacity 0. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { decodeSection, SECTION_OK } from '../../src/edge/http/qpack/decode.ts';
import { EncoderStream } from '../../src/edge/http/qpack/instructions.ts';
import { STATIC_NAMES, STATIC_VALUES } from '../../src/edge/http/qpack/static.ts';
import { fieldsOf, PairSink, section, type Pair } from '../kit/h3bytes.ts';
import { PYTHON, ROOT } from '../kit/peers.ts';

const SEED = 20_260_101;
const LISTS = 1500;
const MUTATIONS = 4000;

type Job = { encode: [string, string][] } | { decode: string };
interface Result {
  readonly instructions?: string;
  readonly section?: string;
  readonly pairs?: [string, string][];
  readonly error?: string;
}

function ask(jobs: readonly Job[]): Result[] {
  const input = jobs.map((job) => JSON.stringify(job)).join('\n');
  const codec = join(ROOT, 'test', 'e2e', 'clients', 'qpack_codec.py');
  const { stdout, stderr, status } = spawnSync(PYTHON, [codec], { input, maxBuffer: 1 << 28, encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
  const results = stdout.trimEnd().split('\n');
  expect(results.length).toBe(jobs.length);
  return results.map((line) => JSON.parse(line) as Result);
}

const hex = (text: string): string => Buffer.from(text, 'latin1').toString('hex');
const unhex = (text: string): string => Buffer.from(text, 'hex').toString('latin1');

const byte = fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c));
const text = fc.oneof(fc.stringMatching(/^[a-z0-9/:;=., "-]{0,60}$/), fc.string({ unit: byte, maxLength: 300 }));
/** ls-qpack does not take empty names. */
const name = fc.oneof(
  fc.constantFrom(...STATIC_NAMES),
  fc.stringMatching(/^[a-z0-9-]{1,40}$/),
  fc.string({ unit: byte, minLength: 1, maxLength: 60 }),
);
const value = fc.oneof(fc.constantFrom(...STATIC_VALUES), text);
const list = fc.array(
  fc.tuple(name, value).map(([n, v]): Pair => [n, v, false]),
  { minLength: 1, maxLength: 24 },
);

const lists = fc.sample(list, { seed: SEED, numRuns: LISTS });

test('it reads what we write', () => {
  const results = ask(lists.map((pairs) => ({ decode: section(pairs).toString('hex') })));
  for (const [i, pairs] of lists.entries()) {
    expect(results[i]?.pairs?.map(([n, v]) => [unhex(n), unhex(v), false])).toEqual(pairs);
  }
});

test('we read what it writes, and its encoder stream', () => {
  const results = ask(lists.map((pairs) => ({ encode: pairs.map(([n, v]) => [hex(n), hex(v)]) })));
  for (const [i, pairs] of lists.entries()) {
    const { section: encoded, instructions } = results[i] as Required<Pick<Result, 'section' | 'instructions'>>;
    expect(fieldsOf(Buffer.from(encoded, 'hex'))).toEqual(pairs);
    const stream = Buffer.from(instructions, 'hex');
    expect(new EncoderStream().push(stream, 0, stream.length)).toBe(null);
  }
});

test('mutated bytes are accepted by both, and read the same, or by neither', () => {
  const mutated = fc
    .sample(fc.tuple(list, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }), fc.nat(20)), {
      seed: SEED + 1,
      numRuns: MUTATIONS,
    })
    .map(([pairs, changes, cut]) => {
      const buf = section(pairs);
      for (const [at, octet] of changes) buf[2 + (at % (buf.length - 2))] = octet;
      return cut === 0 ? buf.subarray(0, buf.length >> 1) : buf;
    });
  const results = ask(mutated.map((buf) => ({ decode: buf.toString('hex') })));
  let accepted = 0;
  let refused = 0;
  for (const [i, buf] of mutated.entries()) {
    const sink = new PairSink();
    if (decodeSection(buf, 0, buf.length, sink, 1 << 20, 1000) !== SECTION_OK) {
      refused++;
      expect([buf.toString('hex'), results[i]?.error]).toEqual([buf.toString('hex'), expect.any(String)]);
      continue;
    }
    // Fine by RFC 9204, refused by ls-qpack: a section without fields, a field without a name.
    if (sink.pairs.length === 0 || sink.pairs.some(([n]) => n === '')) continue;
    accepted++;
    const theirs = results[i]?.pairs?.map(([n, v]) => [unhex(n), unhex(v)]);
    expect([buf.toString('hex'), theirs]).toEqual([buf.toString('hex'), sink.pairs.map(([n, v]) => [n, v])]);
  }
  expect(accepted).toBeGreaterThan(100);
  expect(refused).toBeGreaterThan(100);
});
