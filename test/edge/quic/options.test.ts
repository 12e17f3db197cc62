import { expect, test } from '@jest/globals';
import { checkCongestion, checkCounts, checkResetKey, checkTokenKeys, isWildcard, serverName } from '../../../src/edge/quic/options.ts';
import { LIMITS } from './kit.ts';

test('keys of the wrong length, or none, are refused', () => {
  expect(() => checkTokenKeys([])).toThrow('tokenKeys: at least one');
  expect(() => checkTokenKeys([Buffer.alloc(32), Buffer.alloc(16)])).toThrow('tokenKeys: 32 bytes');
  expect(() => checkTokenKeys([Buffer.alloc(32)])).not.toThrow();
  expect(() => checkResetKey(Buffer.alloc(15))).toThrow('resetKey: at least 16 bytes');
  expect(() => checkResetKey(Buffer.alloc(16))).not.toThrow();
});

test('limits are counts, each named when it is none', () => {
  expect(() => checkCounts(LIMITS)).not.toThrow();
  for (const value of [-1, 1.5, Number.NaN, Infinity, 2 ** 53])
    expect(() => checkCounts({ ...LIMITS, perAddress: value })).toThrow(`limits.perAddress: ${value} is no count`);
});

test('congestion is one of three', () => {
  for (const c of ['cubic', 'bbr', 'reno']) expect(() => checkCongestion('native', c)).not.toThrow();
  expect(() => checkCongestion('native', 'vegas')).toThrow('the native engine cannot honour congestion');
});

test('wildcards of both families, whatever their spelling', () => {
  for (const host of ['0.0.0.0', '::', '0:0::0']) expect(isWildcard(host)).toBe(true);
  for (const host of ['127.0.0.1', '::1']) expect(isWildcard(host)).toBe(false);
  expect(() => isWildcard('localhost')).toThrow('hosts: "localhost" is no IP address');
});

test('an address is no server name', () => {
  expect([serverName('a.example'), serverName('127.0.0.1'), serverName('::1'), serverName(null)]).toEqual(['a.example', null, null, null]);
});
