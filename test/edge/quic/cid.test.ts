import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { CID_LENGTH, CidCodec, connKey, SlotPool } from '../../../src/edge/quic/cid.ts';

interface Vector {
  key: string;
  rotation: number;
  nodeId: number;
  workerId: number;
  slot: number;
  generation: number;
  sequence: number;
  random: number;
  id: string;
}

const vectors = JSON.parse(readFileSync(new URL('../../golden/cid.json', import.meta.url), 'utf8')) as Vector[];
const key = Buffer.alloc(16, 9);

describe('connection ids', () => {
  test('the golden vectors, which every engine shares', () => {
    expect(vectors.length).toBeGreaterThan(3);
    for (const v of vectors) {
      const codec = new CidCodec(Buffer.from(v.key, 'hex'), v.nodeId, v.workerId, v.rotation);
      const id = codec.encode(v.slot, v.generation, v.sequence, v.random);
      expect(id.toString('hex')).toBe(v.id);
      expect(id[0]).toBe((v.rotation << 5) | (v.workerId % 32));
      expect(codec.decode(id, 0)).toBe(true);
      const { random: _r, key: _k, id: _i, ...parts } = v;
      expect(codec.found).toEqual(parts);
    }
  });

  test('decode(encode(x)) = x, wherever it stands in a packet', () => {
    const parts = fc.record({
      node: fc.integer({ min: 0, max: 0xffffffff }),
      worker: fc.integer({ min: 0, max: 255 }),
      slot: fc.integer({ min: 0, max: 0xffffff }),
      generation: fc.integer({ min: 0, max: 0xffffff }),
      sequence: fc.integer({ min: 0, max: 255 }),
      at: fc.integer({ min: 0, max: 30 }),
    });
    fc.assert(
      fc.property(parts, (p) => {
        const codec = new CidCodec(key, p.node, p.worker);
        const id = codec.encode(p.slot, p.generation, p.sequence);
        expect(id.length).toBe(CID_LENGTH);
        const packet = Buffer.concat([Buffer.alloc(p.at), id, Buffer.alloc(5)]);
        expect(codec.decode(packet, p.at)).toBe(true);
        expect(codec.found).toEqual({
          rotation: 0,
          nodeId: p.node,
          workerId: p.worker,
          slot: p.slot,
          generation: p.generation,
          sequence: p.sequence,
        });
        expect(Number.isSafeInteger(connKey(p.slot, p.generation))).toBe(true);
      }),
    );
  });

  test('an id of another worker of the node is told apart; one of another node or key is none of ours', () => {
    const ours = new CidCodec(key, 1, 2);
    expect(ours.decode(new CidCodec(key, 1, 34).encode(5, 6, 0), 0)).toBe(true);
    expect(ours.found.workerId).toBe(34);
    expect(ours.decode(new CidCodec(key, 2, 2).encode(5, 6, 0), 0)).toBe(false);
    expect(ours.decode(new CidCodec(Buffer.alloc(16, 1), 1, 2).encode(5, 6, 0), 0)).toBe(false);
    expect(ours.decode(new CidCodec(key, 1, 2, 3).encode(5, 6, 0), 0)).toBe(false);
  });

  test('a flipped bit makes it another id', () => {
    const codec = new CidCodec(key, 1, 2);
    const id = codec.encode(5, 6, 0);
    for (let bit = 0; bit < 17 * 8; bit++) {
      const bad = Buffer.from(id);
      bad[bit >> 3] = (bad[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(codec.decode(bad, 0)).toBe(false);
    }
  });

  test('no two ids of one connection are alike', () => {
    const codec = new CidCodec(key, 1, 2);
    const seen = new Set<string>();
    for (let i = 0; i < 2000; i++) seen.add(codec.encode(5, 6, i).toString('hex'));
    expect(seen.size).toBe(2000);
  });

  test('wrong keys and numbers are refused by name', () => {
    expect(() => new CidCodec(Buffer.alloc(15), 1, 2)).toThrow('cid.key');
    expect(() => new CidCodec(key, 2 ** 32, 2)).toThrow('cid.nodeId');
    expect(() => new CidCodec(key, 1, 256)).toThrow('cid.workerId');
    expect(() => new CidCodec(key, 1, 2, 8)).toThrow('cid.rotation');
  });
});

describe('slots', () => {
  test('are reused oldest first, each time with the next generation', () => {
    const p = new SlotPool(0xffffff);
    expect([p.take(), p.take(), p.take()]).toEqual([0, 1, 2]);
    p.give(1);
    p.give(0);
    expect(p.take()).toBe(1);
    expect(p.generation(1)).toBe(0);
    expect(p.generation(2)).toBe(0xffffff);
    expect(p.take()).toBe(0);
    expect(p.take()).toBe(3);
  });

  test('run out instead of repeating themselves', () => {
    const p = new SlotPool(1, 3);
    expect([p.take(), p.take(), p.take(), p.take()]).toEqual([0, 1, 2, -1]);
    p.give(2);
    expect(p.take()).toBe(2);
  });

  test('a long life of taking and giving stays small and unique', () => {
    const p = new SlotPool(0);
    const held = new Set<number>();
    for (let i = 0; i < 20_000; i++) {
      const s = p.take();
      expect(held.has(s)).toBe(false);
      held.add(s);
      if (held.size > 50) {
        const first = held.values().next().value as number;
        held.delete(first);
        p.give(first);
      }
    }
    expect(Math.max(...held)).toBeLessThan(60);
  });
});
