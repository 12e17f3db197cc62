import { expect, test } from '@jest/globals';
import {
  deriveCidKey,
  derivePseudonym,
  deriveResetKey,
  deriveTicketKeys,
  deriveTokenKeys,
  type TicketPolicy,
} from '../../../src/edge/quic/keys.ts';

const master = Buffer.alloc(32, 7);
const hex = (b: Uint8Array): string => Buffer.from(b).toString('hex');
const policy: TicketPolicy = { group: 'default/web', clientAuth: 'none', ca: null, earlyData: false };

test('one installation key gives the same keys everywhere, all different', () => {
  const cid = deriveCidKey(master);
  const reset = deriveResetKey(master, 443);
  expect([deriveCidKey(Buffer.from(master)), deriveResetKey(Buffer.from(master), 443)]).toEqual([cid, reset]);
  expect(cid.length).toBe(16);
  expect(reset.length).toBe(32);
  expect(hex(deriveCidKey(Buffer.alloc(32, 8)))).not.toBe(hex(cid));
  expect(hex(deriveResetKey(Buffer.alloc(32, 8), 443))).not.toBe(hex(reset));
  expect(hex(deriveResetKey(master, 444))).not.toBe(hex(reset));
  // Fixed for all times: a change would cut every connection at an upgrade.
  expect(hex(cid)).toBe('58be3bc1eb814ee8acb0af4dcfaaf5aa');
  expect(hex(reset).slice(0, 16)).toBe('94f8d0501553a865');
});

test('a short key is refused', () => {
  for (const f of [
    () => deriveCidKey(Buffer.alloc(31)),
    () => deriveResetKey(Buffer.alloc(31), 443),
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
