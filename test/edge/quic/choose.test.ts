import { expect, test } from '@jest/globals';
import { chooseEngine } from '../../../src/edge/quic/index.ts';

test('native is not there, and says so', async () => {
  await expect(chooseEngine('native')).rejects.toThrow('the native engine is not part of this build');
});

test('auto falls back, matrixai is what was asked for', async () => {
  const auto = await chooseEngine('auto');
  expect([auto.engine.name, auto.fallback, auto.why]).toEqual(['matrixai', true, 'the native engine is not part of this build']);
  const asked = await chooseEngine('matrixai');
  expect([asked.engine.name, asked.fallback, asked.why]).toEqual(['matrixai', false, '']);
});
