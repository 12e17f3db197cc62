import { expect, test } from '@jest/globals';
import { Misdirection, NameTable } from '../../../src/edge/proxy/misdirected.ts';
import type { TlsEntry, TlsId, TlsTable } from '../../../src/edge/quic/engine.ts';

const id = (n: number): TlsId => n as TlsId;
const entry = (n: number): TlsEntry => ({ id: id(n), certs: [], clientAuth: 'none', alpn: ['h3'], earlyData: false, ticketKeys: [] });

/** 1: example.com and a.example.com, also the default; 2: *.example.com; 3: other.test. */
const table = (fallback: TlsId | null): TlsTable => ({
  entries: [entry(1), entry(2), entry(3)],
  names: new Map([
    ['example.com', id(1)],
    ['a.example.com', id(1)],
    ['*.example.com', id(2)],
    ['other.test', id(3)],
  ]),
  fallback,
});

const HOSTS = ['example.com', 'a.example.com', 'b.example.com', 'x.b.example.com', 'other.test', 'unknown.test', '192.0.2.1'];

const allowed = (t: TlsTable | null, entry: number, sni: string | null): string[] => {
  const m = new Misdirection(t === null ? null : new NameTable(t), id(entry), sni);
  return HOSTS.filter((h) => !m.refuses(h));
};

test('a connection serves the names that its entry would have been chosen for', () => {
  const t = table(id(1));
  expect(allowed(t, 1, 'a.example.com')).toEqual(['example.com', 'a.example.com', 'x.b.example.com', 'unknown.test', '192.0.2.1']);
  expect(allowed(t, 2, 'b.example.com')).toEqual(['b.example.com']);
  expect(allowed(t, 3, 'OTHER.test.')).toEqual(['other.test']);
});

test('a default connection with no or an unmatched name serves anything', () => {
  const t = table(id(1));
  expect(allowed(t, 1, null)).toEqual(HOSTS);
  expect(allowed(t, 1, 'nobody.test')).toEqual(HOSTS);
});

test('without a default nothing is exempt', () => {
  expect(allowed(table(null), 1, null)).toEqual(['example.com', 'a.example.com']);
  expect(allowed(table(null), 2, 'b.example.com')).toEqual(['b.example.com']);
});

test('a table that is long gone serves nothing', () => {
  expect(allowed(null, 1, 'example.com')).toEqual([]);
});

test('names outlive keys: what a connection keeps has none', () => {
  const names = new NameTable(table(id(1)));
  expect(names.table.entries).toEqual([]);
  expect([names.has(id(3)), names.has(id(4))]).toEqual([true, false]);
});
