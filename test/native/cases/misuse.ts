/** Every export with every kind of wrong argument in every place: it throws an Error, and the endpoint goes on. */
import type { Addon } from '../../../src/edge/quic/native/binding.ts';
import { limitsJson, tlsJson, keysJson } from '../../../src/edge/quic/native/options.ts';
import { listenOptions } from '../../edge/quic/kit.ts';
import { caseAddon, DIAL, echoServer, honest, LISTEN, PAIR, tell, thrown } from '../wire.ts';

const addon = caseAddon();
const exports = addon as unknown as Record<string, (...args: unknown[]) => unknown>;
const server = echoServer(addon);
const h = server.handle;
const f = (): number => 0;
const o = listenOptions();
const good: Record<keyof Addon, readonly unknown[]> = {
  abi: [],
  version: [],
  judge: [PAIR().cert, PAIR().key],
  open: [LISTEN(), f, f],
  dial: [DIAL(server.port), f, f],
  submit: [h, 0],
  flush: [h, 0],
  forward: [h, new Uint8Array(20), new Uint8Array(18), new Uint8Array(18)],
  setTls: [h, tlsJson(o.tls)],
  setLimits: [h, limitsJson(o.limits)],
  setRetry: [h, 'load'],
  setCongestion: [h, 'bbr'],
  setKeys: [h, keysJson(o)],
  succeed: [h, '[1]'],
  widen: [h, '{"hosts":["127.0.0.1"]}'],
  narrow: [h, '{"hosts":["127.0.0.1"]}'],
  drain: [h],
  close: [h],
  stats: [h],
  info: [h, 1, 1],
  connStats: [h, 1, 1],
  stuck: [h, 1, 1, 1],
  inject: [h, 'panic-turn'],
};

const hostile: readonly unknown[] = [
  undefined,
  null,
  true,
  -1,
  0.5,
  NaN,
  Infinity,
  2 ** 32,
  2 ** 53,
  -0.5,
  10n,
  'text',
  '',
  Symbol('s'),
  {},
  [],
  [1],
  { valueOf: () => h },
  new Proxy({}, {}),
  new Uint16Array(20),
  new Float64Array(18),
  new DataView(new ArrayBuffer(18)),
  new ArrayBuffer(18),
  new Uint8Array(65_536),
  () => {
    throw new Error('never called');
  },
];

/** Values that are right in this place, though they stand in the list: a function where one is wanted. */
const fits = (right: unknown, wrong: unknown): boolean => typeof right === 'function' && typeof wrong === 'function';

const names = Object.keys(addon);
const accepted: string[] = [];
let refused = 0;
for (const name of names) {
  const right = good[name as keyof Addon];
  for (let n = 0; n < right.length; n++) {
    if (thrown(() => exports[name]?.(...right.slice(0, n))) === null) accepted.push(`${name} with ${n} arguments`);
    for (const wrong of hostile) {
      const args = right.map((r, i) => (i === n ? wrong : r));
      // A Uint8Array of any length up to a datagram's is one, and addresses are judged by their length.
      if (fits(right[n], wrong)) continue;
      if (thrown(() => exports[name]?.(...args)) === null)
        accepted.push(`${name}: argument ${n}: ${typeof wrong} ${String(wrong?.constructor?.name)}`);
      else refused++;
    }
  }
}

const messages = {
  none: thrown(() => addon.stats(0)),
  never: thrown(() => addon.stats(4_000_000)),
  tooMany: thrown(() => addon.submit(h, 4097)),
  most: thrown(() => addon.submit(h, 4096)),
  tooManyFlushed: thrown(() => addon.flush(h, 4097)),
  longDatagram: thrown(() => addon.forward(h, new Uint8Array(65_536), new Uint8Array(18), new Uint8Array(18))),
  shortAddress: thrown(() => addon.forward(h, new Uint8Array(20), new Uint8Array(17), new Uint8Array(18))),
  constructed: thrown(() => Reflect.construct(exports['stats'] as () => unknown, [h])),
};
const working = await honest(addon);
server.close();
server.close();
const closed = names
  .filter((n) => typeof good[n as keyof Addon][0] === 'number' && n !== 'close')
  .map((n) => thrown(() => exports[n]?.(...good[n as keyof Addon])));
tell({ names, accepted, refused, messages, working, closed: [...new Set(closed)], again: thrown(() => addon.close(h)) });
