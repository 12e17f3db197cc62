import { describe, expect, test } from '@jest/globals';
import { encodePart, hashPart } from '../../../src/contract/snapshot/index.ts';
import { PartStore } from '../../../src/edge/proxy/parts.ts';
import { Slices } from '../../../src/edge/proxy/slices.ts';
import { renewal, TlsTables, type Tls } from '../../../src/edge/proxy/tls.ts';
import { readPairs } from '../../../src/edge/quic/entry.ts';
import type { TlsEntry, TlsPair, TlsTable } from '../../../src/edge/quic/engine.ts';
import { Secret } from '../../../src/lib/secret.ts';
import { makeCa, makeLeaf } from '../../kit/certs.ts';
import { certificatePart, listenerPart } from '../../kit/snapshot.ts';

const ca = makeCa('ca');

const rig = (judge: (pair: TlsPair) => string | null = () => null) => {
  const parts = new PartStore();
  const certificate = (name = 'site.example'): string => {
    const { cert, key } = makeLeaf(ca, { names: [name] });
    const bytes = encodePart(certificatePart({ cert: cert.toString(), key: new Secret(key) }));
    const hash = hashPart(bytes);
    parts.add(hash, bytes);
    return hash;
  };
  const listener = (hash: string) => {
    const entries = [{ names: ['site.example'], certificates: [hash as ReturnType<typeof hashPart>] }];
    return listenerPart({ tls: { entries, fallback: 0, unmatched: 'Default' } });
  };
  return { parts, certificate, listener, tables: new TlsTables(Buffer.alloc(32, 1), judge) };
};

const only = ({ table }: Tls): TlsEntry => table.entries[0] as TlsEntry;

test('new ticket keys make new entries of the same certificates, into which nobody looks again', async () => {
  const { parts, certificate, listener, tables } = rig();
  const part = listener(certificate());
  const before = only(await tables.build(part, parts, 1, new Slices()));
  const [read] = readPairs(before);
  const after = only(await tables.build(part, parts, 2, new Slices()));
  expect(after.id).not.toBe(before.id);
  expect(after.ticketKeys).not.toEqual(before.ticketKeys);
  expect(after.certs[0]).toBe(before.certs[0]);
  expect(readPairs(after)[0]).toBe(read);
});

test('another certificate is looked into', async () => {
  const { parts, certificate, listener, tables } = rig();
  const before = only(await tables.build(listener(certificate()), parts, 1, new Slices()));
  const after = only(await tables.build(listener(certificate('other.example')), parts, 1, new Slices()));
  expect(readPairs(after)[0]?.cert).not.toBe(readPairs(before)[0]?.cert);
  expect(readPairs(after)[0]?.key).not.toBe(readPairs(before)[0]?.key);
});

test('a certificate that is none is refused each time', async () => {
  const { parts, listener, tables } = rig();
  const bytes = encodePart(certificatePart());
  const hash = hashPart(bytes);
  parts.add(hash, bytes);
  const entry = only(await tables.build(listener(hash), parts, 1, new Slices()));
  for (let i = 0; i < 2; i++) expect(() => readPairs(entry)).toThrow(`TLS entry ${entry.id}: `);
});

describe('certificates that the engine does not take', () => {
  const unfit = () => {
    const judged: TlsPair[] = [];
    const refused = new Set<string>();
    const all = rig((pair) => {
      judged.push(pair);
      return refused.has(pair.cert.toString()) ? 'no such thing' : null;
    });
    const refuse = (name: string): ReturnType<typeof hashPart> => {
      const hash = all.certificate(name) as ReturnType<typeof hashPart>;
      refused.add(all.parts.get(hash, 'certificate').cert);
      return hash;
    };
    const fit = (name: string) => all.certificate(name) as ReturnType<typeof hashPart>;
    const listenerOf = (entries: readonly (readonly [string, readonly ReturnType<typeof hashPart>[]])[]) =>
      listenerPart({
        tls: { entries: entries.map(([name, certificates]) => ({ names: [name], certificates })), fallback: 0, unmatched: 'Default' },
      });
    const build = (part: ReturnType<typeof listenerOf>, period = 1) => all.tables.build(part, all.parts, period, new Slices());
    return { judged, refuse, fit, listenerOf, build };
  };

  test('are left out with their names, and nothing stands in for them, not for the default either', async () => {
    const { refuse, fit, listenerOf, build } = unfit();
    const { table, unfit: told } = await build(
      listenerOf([
        ['broken.example', [refuse('broken.example')]],
        ['site.example', [fit('site.example')]],
      ]),
    );
    expect([...table.names]).toEqual([['site.example', table.entries[0]?.id]]);
    expect(table.entries).toHaveLength(1);
    expect(table.fallback).toBe(null);
    expect(told).toEqual(['default/site-tls: no such thing']);
  });

  test('keep no other certificate of theirs names from being served', async () => {
    const { refuse, fit, listenerOf, build } = unfit();
    const { table, unfit: told } = await build(listenerOf([['site.example', [refuse('site.example'), fit('other.example')]]]));
    expect(table.entries[0]?.certs).toHaveLength(1);
    expect(table.fallback).toBe(table.entries[0]?.id);
    expect(told).toHaveLength(1);
  });

  test('are judged once, and told each time and once', async () => {
    const { refuse, listenerOf, build, judged } = unfit();
    const broken = refuse('broken.example');
    const part = listenerOf([
      ['a.example', [broken]],
      ['b.example', [broken]],
    ]);
    for (const period of [1, 1, 2]) expect((await build(part, period)).unfit).toEqual(['default/site-tls: no such thing']);
    expect(judged).toHaveLength(1);
  });
});

describe('new ticket keys for a thousand entries', () => {
  const NAMES = Array.from({ length: 1_000 }, (_, i) => `site-${i}.example`);

  const thousand = () => {
    const { parts, certificate, tables } = rig();
    const certificates = [certificate() as ReturnType<typeof hashPart>];
    const part = listenerPart({
      tls: { entries: NAMES.map((name) => ({ names: [name], certificates })), fallback: 7, unmatched: 'Default' },
    });
    return { parts, tables, part };
  };

  test('are derived in slices', async () => {
    const { parts, tables, part } = thousand();
    let [now, turns] = [0, 0];
    // Each look at the clock comes after sixteen entries, of a quarter of a millisecond each: slow ones.
    const slices = new Slices({ now: () => (now += 4), turn: () => (turns++, Promise.resolve()) });
    await tables.build(part, parts, 1, slices);
    expect(turns).toBe(Math.floor(1_000 / 16));
    const before = turns;
    await tables.build(part, parts, 1, slices);
    expect(turns).toBe(before);
  });

  test('come to an engine in steps, each of them a whole table', async () => {
    const { parts, tables, part } = thousand();
    const { table: before } = await tables.build(part, parts, 1, new Slices());
    const { table: after } = await tables.build(part, parts, 2, new Slices());
    const steps = [...renewal(before, after)];
    expect(steps.length).toBe(10);
    expect(steps.at(-1)).toBe(after);
    let last: TlsTable = before;
    const old = new Set(before.entries);
    for (const step of steps) {
      expect(step.entries.length).toBe(1_000);
      expect(step.entries.filter((e, i) => e !== last.entries[i]).length).toBe(100);
      step.entries.forEach((e, i) => {
        expect(e === before.entries[i] || e === after.entries[i]).toBe(true);
        expect(step.names.get(NAMES[i] as string)).toBe(e.id);
      });
      expect(step.names.size).toBe(1_000);
      expect(step.fallback).toBe(step.entries[7]?.id);
      last = step;
    }
    expect(after.entries.some((e) => old.has(e))).toBe(false);
  });

  test('of other entries come at once', async () => {
    const { parts, tables, part } = thousand();
    const { table: whole } = await tables.build(part, parts, 1, new Slices());
    const one = { ...whole, entries: whole.entries.slice(0, 8) };
    expect([...renewal(one, whole)]).toEqual([whole]);
  });
});
