import { copyFileSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { ADDON_FILE } from '../../../../src/edge/quic/native/binding.ts';
import { buildInjectable, canBuild, found, run } from '../../../native/run.ts';
import { describeNative } from './built.ts';

const CRATE = resolve(import.meta.dirname, '../../../../native/src');
const source = (file: string): string => readFileSync(join(CRATE, file), 'utf8');
const files = (): string[] => readdirSync(CRATE, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.rs'));
const count = (text: string, what: RegExp): number => text.match(what)?.length ?? 0;
/** Without comments: what is said about code is not code. */
const code = (file: string): string => source(file).replace(/\/\/.*$/gm, '');

const EXPORTS = [
  'abi',
  'version',
  'judge',
  'open',
  'dial',
  'submit',
  'flush',
  'forward',
  'setTls',
  'setLimits',
  'setRetry',
  'setCongestion',
  'setKeys',
  'succeed',
  'widen',
  'narrow',
  'drain',
  'close',
  'stats',
  'info',
  'connStats',
  'stuck',
];

describe('what the source of the addon promises', () => {
  test('exports are registered in one place, behind the wrapper that catches unwinding', () => {
    const registrations = files().filter((f) => /napi_create_function|napi_define_properties|napi_define_class/.test(code(f)));
    expect(registrations).toEqual(['host.rs']);
    expect(count(code('host.rs'), /napi_create_function|napi_define_properties|napi_define_class/g)).toBe(1);
    expect(code('host.rs')).toMatch(/napi_create_function\([^;]*Some\(trampoline\)/);
    expect(count(code('host.rs'), /Some\(trampoline\)/g)).toBe(1);
  });

  test('whatever C calls in host.rs catches unwinding', () => {
    const functions = code('host.rs')
      .split(/(?=^(?:unsafe )?extern "C" fn )/m)
      .slice(1);
    const names = functions.map((f) => /fn (\w+)/.exec(f)?.[1]);
    expect(names).toEqual([
      'trampoline',
      'forget_state',
      'napi_register_module_v1',
      'node_api_module_get_api_version_v1',
      'release',
      'on_leave',
      'on_closed',
      'on_poll',
      'on_timer',
      'on_prepare',
    ]);
    // The version is a number.
    const unguarded = functions.filter((f) => !/\bguard\(/.test(f.slice(0, f.search(/^}/m)))).map((f) => /fn (\w+)/.exec(f)?.[1]);
    expect(unguarded).toEqual(['node_api_module_get_api_version_v1']);
    expect(readFileSync(join(CRATE, '../Cargo.toml'), 'utf8')).toContain('panic = "unwind"');
  });

  test('the version that it tells is the one that Cargo.toml pins', () => {
    const told = /const QUICHE: &str = "(.*)"/.exec(source('exports.rs'))?.[1];
    expect(told).toMatch(/^\d+\.\d+\.\d+$/);
    expect(readFileSync(join(CRATE, '../Cargo.toml'), 'utf8')).toContain(`quiche = { version = "=${told}"`);
  });

  test('unsafe stays in the files of the socket, of TLS, of the allocators and of Node, and every block has its reason', () => {
    const places = files().filter((f) => /\bunsafe\b/.test(code(f)));
    expect(places.filter((f) => !/^(host|memory|socket|tls)(\.rs|\/)/.test(f))).toEqual([]);
    for (const file of places) {
      const lines = source(file).split('\n');
      const bare = lines.flatMap((line, i) => {
        if (!/\bunsafe (\{|impl|extern "C" \{)|#\[unsafe/.test(line.replace(/\/\/.*$/, ''))) return [];
        // The reason stands above the statement, or above the group of statements, that the block belongs to.
        const above = lines.slice(Math.max(0, i - 12), i + 1).join('\n');
        return above.includes('// SAFETY:') ? [] : [`${file}:${i + 1}`];
      });
      expect(bare).toEqual([]);
    }
  });
});

describeNative('the addon and hostile JavaScript', () => {
  const of = (name: string, ...args: string[]): Promise<unknown> => found(name, ADDON_FILE, { args });

  test('wrong types, handles and counts throw, in every place of every export', async () => {
    expect(await of('misuse')).toEqual({
      names: EXPORTS,
      accepted: [],
      refused: expect.any(Number),
      messages: {
        none: 'no endpoint has this handle',
        never: 'no endpoint has this handle',
        tooMany: 'more commands than the buffer holds',
        most: null,
        tooManyFlushed: 'more commands than the buffer holds',
        longDatagram: 'forward: argument 2: a Uint8Array of at most 65535 bytes wanted',
        shortAddress: 'an address has 18 bytes',
        constructed: null,
      },
      working: true,
      closed: ['the endpoint is closed'],
      again: null,
    });
  });

  test('JSON is refused when a field is unknown, missing or of another type, and secrets are not repeated', async () => {
    expect(await of('garbage')).toEqual({
      accepted: [],
      optional: ['open.tls: fallback', 'dial: local', 'dial: sni', 'setTls: fallback'],
      unnamed: [],
      refused: expect.any(Number),
      leaks: [],
      working: true,
    });
  });

  test('buffers may be detached, transferred and outlive their endpoint', async () => {
    expect(await of('buffers')).toEqual({
      refused: [true, true, true, true],
      detached: [true, true, true, true],
      away: [512 * 32, 100, 4096 * 32, 100],
      clientBuffers: Array.from({ length: 4 }, () => 1 << 20),
      sums: [true, true, true, true],
      working: true,
    });
  });

  test('a million command records at random, with and without connections', async () => {
    const result = (await of('commands', '200', '12345')) as {
      records: number;
      connections: number;
      reached: { client: number; server: number };
    };
    expect(result).toMatchObject({ served: 20_000, faults: [], working: true });
    expect(result.records).toBeGreaterThan(1_000_000);
    expect(result.connections).toBeGreaterThan(3);
    // They were no mere refusals: thousands did what they said.
    expect(result.reached.client).toBeGreaterThan(2000);
    expect(result.reached.server).toBeGreaterThan(500);
  });

  test('turn and fault may throw, answer nonsense, call every export and close', async () => {
    const wordless = 'an exception without a text';
    const faults = ['TypeError: boom', 'a text', 'null', 'undefined', '7', wordless, wordless, wordless, wordless];
    expect(await of('handlers')).toEqual({
      thrownThings: faults.map((fault) => ({ fault, later: `the endpoint is dead: ${fault}`, freed: 'the endpoint is closed' })),
      answers: Array.from({ length: 11 }, () => 'turn did not answer with a count of commands'),
      long: 4096,
      inside: {
        results: {
          ...Object.fromEntries(EXPORTS.filter((n) => !['abi', 'version', 'drain', 'close'].includes(n)).map((n) => [n, null])),
          flush: 'flush cannot be called from inside a turn',
        },
        echoed: true,
      },
      closeInside: { open: 4, closes: 4, after: [null, null], stats: 'the endpoint is closed', silent: true, faults: [] },
      elsewhere: { echoed: 'x', closed: null, gone: 'the endpoint is closed' },
      below: { close: null, faults: ['Error: at close'], gone: 'the endpoint is closed' },
      ticks: { order: ['turn', 'tick', 'promise', 'turn', 'tick', 'promise'], echoed: ['first and then', 'other and more'] },
      working: true,
    });
  });

  test('worker threads are terminated under traffic, exit in a turn and die of a rejection', async () => {
    const result = (await of('workers')) as { sizes: number[] };
    // 1 is what Node says of a terminated worker.
    expect(result).toMatchObject({ codes: Array.from({ length: 6 }, () => [1, 1, 1, 1]), others: [9, 0, -1], working: true });
    expect(Math.max(...result.sizes.slice(2)) - (result.sizes[1] as number)).toBeLessThan(64);
  }, 60_000);

  test('five thousand connections opened and closed leave nothing behind', async () => {
    const result = (await found('memory', ADDON_FILE, { ms: 110_000 })) as { sizes: number[] };
    expect(result).toMatchObject({ served: 5000, left: 0, working: true });
    const early = Math.max(...result.sizes.slice(0, 4));
    const late = result.sizes.slice(-5).toSorted((a, b) => a - b)[2] as number;
    expect(late - early).toBeLessThan(32);
  }, 120_000);

  test('the same file loaded twice, and a copy of it, are strangers that can talk', async () => {
    expect(await of('twice')).toEqual({
      same: false,
      strangers: ['no endpoint has this handle', 'no endpoint has this handle'],
      echoes: ['across', 'across', 'across'],
      working: [true, true, true],
    });
  });

  test('an endpoint with nothing to do takes no time', async () => {
    const { ms, turns } = (await of('life', 'idle')) as { ms: number; turns: number };
    // Of two seconds, the process's own timers included.
    expect(ms).toBeLessThan(100);
    expect(turns).toBeLessThan(5);
  });

  test('a loop with traffic in it runs everything else as well', async () => {
    const { exchanges, longest } = (await of('life', 'fair')) as { exchanges: number; longest: number };
    expect(exchanges).toBeGreaterThan(20);
    expect(longest).toBeLessThan(300);
  });

  test('an open endpoint keeps the process alive, a closed one does not', async () => {
    expect(await of('life', 'closed')).toBe('closed');
    expect((await run('life', ADDON_FILE, { args: ['open'], killAt: 'open' })).code).toBe('SIGTERM');
  });

  test.each(['exit-in-turn', 'exit-when-open', 'throw-in-tick'])('%s ends the process with its own code', async (how) => {
    expect(await run('life', ADDON_FILE, { args: [how] })).toMatchObject({ code: 7, stderr: '' });
  });
});

const NO_TOOLS = 'panics are not injected: the tools to build the addon are missing (scripts/native check)';
if (!canBuild() && process.env['CI'] !== 'true') {
  process.stderr.write(`${NO_TOOLS}\n`);
  test.skip(NO_TOOLS, () => {});
} else
  describeNative('panics and socket errors', () => {
    let addon = '';

    // Two minutes when nothing is compiled yet.
    beforeAll(() => {
      const built = buildInjectable();
      addon = built.replace(/\.so$/, '.node');
      copyFileSync(built, addon);
    }, 600_000);

    test('each kills its endpoint, is told once, and leaves the process and its other endpoints alone', async () => {
      const result = (await found('faults', addon)) as Record<'export' | 'turn' | 'socket' | 'nested', { faults: string[] }>;
      const death = { reopened: true, quiet: true, closes: [null, 'the endpoint is closed', null] };
      const killedBy = (threw: boolean, why: string): object => {
        const dead = expect.stringMatching(`^the endpoint is dead: .*${why}$`);
        return {
          threw: threw ? expect.stringContaining(why) : null,
          faults: [expect.stringContaining(why)],
          later: [dead, dead, dead],
          ...death,
        };
      };
      expect(result).toEqual({
        export: killedBy(true, 'injected into an export'),
        turn: killedBy(false, 'injected into a turn'),
        socket: killedBy(false, 'injected: EBADF'),
        nested: {
          seen: [expect.stringContaining('injected into an export'), expect.stringMatching('^the endpoint is dead'), null],
          during: 0,
          faults: [expect.stringContaining('injected into an export')],
          after: 'the endpoint is closed',
        },
        unknown: 'nothing of that name can be injected',
        bystander: 'still here',
        bystanderFaults: [],
        working: true,
      });
      // The place where it happened is part of the message.
      expect(result.export.faults[0]).toMatch(/^panicked at src\/exports\.rs:\d+/);
    });
  });
