import { expect, test } from '@jest/globals';
import { deriveEdgeKeys, derivePseudonym, deriveTicketKeys, deriveTokenKeys, type TicketPolicy } from '../../../src/edge/quic/keys.ts';

const master = Buffer.alloc(32, 7);
const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex');
const policy: TicketPolicy = { group: 'default/web', clientAuth: 'none', ca: null, earlyData: false };

test('one installation key gives the same keys everywhere, all different', () => {
  const a = deriveEdgeKeys(master);
  expect(deriveEdgeKeys(Buffer.from(master))).toEqual(a);
  expect(a.cid.length).toBe(16);
  expect(a.reset.length).toBe(32);
  expect(hex(deriveEdgeKeys(Buffer.alloc(32, 8)).cid)).not.toBe(hex(a.cid));
  // Fixed for all times: a change would cut every connection at an upgrade.
  expect(hex(a.cid)).toBe('58be3bc1eb814ee8acb0af4dcfaaf5aa');
  expect(hex(a.reset).slice(0, 16)).toBe('e67c10d648095bad');
});

test('a short key is refused', () => {
  for (const f of [
    () => deriveEdgeKeys(Buffer.alloc(31)),
    () => derivePseudonym(Buffer.alloc(0)),
    () => deriveTokenKeys(Buffer.alloc(16), 1),
  ]) {
    expect(f).toThrow('at least 32 wanted');
  }
});

test('token keys overlap from one period to the next', () => {
  const now = deriveTokenKeys(master, 10).map(hex);
  const next = deriveTokenKeys(master, 11).map(hex);
  expect(new Set(now).size).toBe(3);
  expect(next).toContain(now[0]);
  expect(now).toContain(next[0]);
  for (const k of deriveTokenKeys(master, 10)) expect(k.length).toBe(32);
});

test('ticket keys differ by everything that a ticket must not cross', () => {
  const variants: TicketPolicy[] = [
    policy,
    { ...policy, group: 'default/web2' },
    { ...policy, clientAuth: 'request' },
    { ...policy, clientAuth: 'require' },
    { ...policy, ca: Buffer.from('ca one') },
    { ...policy, ca: Buffer.from('ca two') },
    { ...policy, earlyData: true },
    { ...policy, group: 'default/webnone' },
  ];
  const keys = variants.map((v) => deriveTicketKeys(master, v, 3));
  expect(new Set(keys.map((k) => hex(k[0] as Uint8Array))).size).toBe(variants.length);
  for (const k of keys) expect(k.map((x) => x.length)).toEqual([48, 48]);
  expect(hex(deriveTicketKeys(master, policy, 4)[1] as Uint8Array)).toBe(hex(keys[0]?.[0] as Uint8Array));
});

test('the pseudonym names the installation and not its key', () => {
  const name = derivePseudonym(master);
  expect(name).toMatch(/^spooky-[0-9a-f]{8}$/);
  expect(derivePseudonym(master)).toBe(name);
  expect(derivePseudonym(Buffer.alloc(32, 8))).not.toBe(name);
});
