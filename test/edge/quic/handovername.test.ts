/** A listener is found by everybody: also when it changes its name, or has another one in another tree of processes. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from '@jest/globals';
import { ManualClock } from '../../../src/lib/clock.ts';
import { addressFrom } from '../../../src/edge/quic/address.ts';
import type { Address } from '../../../src/edge/quic/engine.ts';
import { Handover } from '../../../src/edge/quic/handover.ts';
import { eventually } from '../../kit/process.ts';

const FIRST = '00112233445566ff';
const NEXT = 'ff66554433221100';
const from = addressFrom('127.0.0.9', 1000) as Address;
const to = addressFrom('127.0.0.1', 443) as Address;

const folder = mkdtempSync(join(tmpdir(), 'spooky-names-'));
const clock = new ManualClock();
const opened: Handover[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((h) => h.close()));
  expect(readdirSync(folder)).toEqual([]);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function worker(workerId: number, name = FIRST): Promise<{ handover: Handover; got: string[] }> {
  const got: string[] = [];
  const handover = await Handover.open({
    folder,
    name,
    workerId,
    secret: Buffer.alloc(32, 1),
    receiveBuffer: 0,
    clock,
    report: (_, e) => {
      throw e;
    },
    deliver: (datagram) => got.push(datagram.toString('latin1')) > 0,
  });
  opened.push(handover);
  return { handover, got };
}

test('before, in between, behind, and where one does not hear of it', async () => {
  const [a, b, late] = [await worker(1), await worker(2), await worker(3)];
  const all = [a, b, late];
  const reach = async (sender: number, owner: number): Promise<void> => {
    const { got } = all[owner - 1] as typeof a;
    const before = got.length;
    expect((all[sender - 1] as typeof a).handover.send(owner, Buffer.from('x'), from, to)).toBe(true);
    await eventually(async () => expect(got.length).toBe(before + 1));
  };
  await reach(1, 2);
  b.handover.also(NEXT);
  await reach(1, 2);
  a.handover.also(NEXT);
  a.handover.rename(NEXT);
  await reach(1, 2);
  await reach(2, 1);
  b.handover.rename(NEXT);
  await reach(2, 1);
  await reach(2, 3);
  await reach(3, 2);
  // Of many names the last ones stay.
  for (let n = 0; n < 40; n++) {
    const name = n.toString(16).padStart(16, '0');
    b.handover.also(name);
    b.handover.rename(name);
  }
  expect(readdirSync(folder).filter((name) => name.startsWith('2-')).length).toBe(16);
  await b.handover.close();
  expect(readdirSync(folder).filter((name) => name.startsWith('2-'))).toEqual([]);
});

test('where no name leads to it, by the address', async () => {
  const other = addressFrom('127.0.0.2', 443) as Address;
  const [sender, one, two] = [await worker(1, NEXT), await worker(2), await worker(2, 'aaaaaaaaaaaaaaaa')];
  const reach = async (address: Address, got: string[]): Promise<void> => {
    const before = got.length;
    expect(sender.handover.send(2, Buffer.from('x'), from, address)).toBe(true);
    await eventually(async () => expect(got.length).toBe(before + 1));
  };
  one.handover.serve([to]);
  two.handover.serve([other]);
  await reach(to, one.got);
  await reach(other, two.got);
  await reach(to, one.got);
  expect(sender.handover.send(2, Buffer.from('x'), from, addressFrom('127.0.0.3', 443) as Address)).toBe(false);
  // It goes from one to the other.
  one.handover.serve([]);
  two.handover.serve([other, to]);
  clock.advance(1000);
  await reach(to, two.got);
});
