/** What JavaScript may do in `turn` and `fault`: throw, answer nonsense, call every export, close. */
import { EVENT_CLOSE, EVENT_CONN, EVENT_DATA } from '../../../src/edge/quic/native/records.ts';
import { keysJson, limitsJson, tlsJson } from '../../../src/edge/quic/native/options.ts';
import { listenOptions } from '../../edge/quic/kit.ts';
import { caseAddon, Client, DIAL, echoServer, honest, LISTEN, PAIR, tell, thrown, Wire } from '../wire.ts';

const addon = caseAddon();

/** The fault that an endpoint has when its `turn` is this. */
async function faultOf(turn: () => unknown): Promise<{ fault: string; later: string | null; freed: string | null }> {
  const died = Promise.withResolvers<string>();
  const opened = addon.open(LISTEN(), turn as () => number, (message) => {
    died.resolve(message);
    throw new Error('what fault throws goes nowhere');
  });
  const client = new Client(addon, (JSON.parse(opened.addresses) as { port: number }[])[0]?.port ?? 0);
  const fault = await died.promise;
  const later = thrown(() => addon.stats(opened.handle));
  addon.close(opened.handle);
  client.wire.close();
  return { fault, later, freed: thrown(() => addon.stats(opened.handle)) };
}

const throwing = (what: unknown) => (): never => {
  throw what;
};
const unprintable = { toString: throwing(new Error('again')) };
const thrownThings = [];
for (const what of [
  new TypeError('boom'),
  'a text',
  null,
  undefined,
  7n,
  Symbol('s'),
  unprintable,
  new Proxy({}, { get: throwing(1) }),
  Object.create(null),
])
  thrownThings.push(await faultOf(throwing(what)));
const answers = [];
for (const what of [undefined, null, 'x', NaN, -1, 0.5, 4097, Infinity, 1n, {}, Symbol('s')])
  answers.push((await faultOf(() => what)).fault);
const long = (await faultOf(throwing('x'.repeat(1e6)))).fault.length;

/** Every export from inside `turn`. */
async function inside(): Promise<object> {
  const o = listenOptions();
  const results: Record<string, string | null> = {};
  const server = echoServer(addon, (w, at) => {
    if (w.kind(at) !== EVENT_DATA || results['stats'] !== undefined) return;
    const [slot, generation] = [w.word(at, 1), w.word(at, 2)];
    const address = new Uint8Array(18);
    const { cert, key } = PAIR();
    const calls: Record<string, () => unknown> = {
      judge: () => addon.judge(cert, key),
      submit: () => addon.submit(w.handle, 0),
      flush: () => addon.flush(w.handle, 0),
      forward: () => addon.forward(w.handle, new Uint8Array(30), address, address),
      setTls: () => addon.setTls(w.handle, tlsJson(o.tls)),
      setLimits: () => addon.setLimits(w.handle, limitsJson(o.limits)),
      setRetry: () => addon.setRetry(w.handle, 'load'),
      setCongestion: () => addon.setCongestion(w.handle, 'cubic'),
      setKeys: () => addon.setKeys(w.handle, keysJson(o)),
      succeed: () => addon.succeed(w.handle, '[]'),
      widen: () => addon.widen(w.handle, '{"hosts":["127.0.0.1","127.0.0.2"]}'),
      narrow: () => addon.narrow(w.handle, '{"hosts":["127.0.0.1"]}'),
      info: () => addon.info(w.handle, slot, generation),
      connStats: () => addon.connStats(w.handle, slot, generation),
      stuck: () => addon.stuck(w.handle, slot, generation, 0),
      open: () =>
        addon.close(
          addon.open(
            LISTEN(),
            () => 0,
            () => {},
          ).handle,
        ),
      dial: () =>
        addon.close(
          addon.dial(
            DIAL(w.port),
            () => 0,
            () => {},
          ).handle,
        ),
      stats: () => addon.stats(w.handle),
    };
    for (const [name, call] of Object.entries(calls)) results[name] = thrown(call);
  });
  const client = new Client(addon, server.port);
  const echoed = (await client.exchange('all of them')) === 'all of them';
  client.close();
  server.close();
  return { results, echoed };
}

/** close() from inside `turn`: what was written before it is run, every connection's CLOSE is told once, then there is silence. */
async function closeInside(): Promise<object> {
  let open = 0;
  let closes = 0;
  const after: (string | null)[] = [];
  const server = echoServer(addon, (w, at) => {
    if (w.kind(at) === EVENT_CONN) open++;
    if (w.kind(at) === EVENT_CLOSE) closes++;
    if (w.kind(at) === EVENT_DATA)
      after.push(
        thrown(() => w.close()),
        thrown(() => w.close()),
      );
  });
  const clients = [1, 2, 3, 4].map(() => new Client(addon, server.port));
  await Promise.all(clients.map((c) => c.ready));
  void clients[0]?.exchange('close now').catch(() => {});
  await Promise.all(clients.map((c) => c.closed));
  const turns = server.turns;
  const stats = thrown(() => addon.stats(server.handle));
  for (const c of clients) c.wire.close();
  return { open, closes, after, stats, silent: turns === server.turns, faults: server.faults };
}

/** close() of another endpoint, of the same by another handle's turn, and from `fault`. */
async function closeElsewhere(): Promise<object> {
  const other = echoServer(addon);
  const server = echoServer(addon, (w, at) => {
    if (w.kind(at) === EVENT_CONN) other.close();
  });
  const client = new Client(addon, server.port);
  const echoed = await client.exchange('x');
  client.close();
  server.close();
  const fromFault = Promise.withResolvers<string | null>();
  const opened = addon.open(LISTEN(), throwing(new Error('boom')), () => fromFault.resolve(thrown(() => addon.close(opened.handle))));
  const c = new Client(addon, (JSON.parse(opened.addresses) as { port: number }[])[0]?.port ?? 0);
  const closed = await fromFault.promise;
  c.wire.close();
  return { echoed, closed, gone: thrown(() => addon.stats(opened.handle)) };
}

/** A throw in a `turn` that `close` called. */
async function throwBelow(): Promise<object> {
  const server = echoServer(addon, (w, at) => {
    if (w.kind(at) === EVENT_CLOSE) throw new Error('at close');
  });
  const client = new Client(addon, server.port);
  await client.exchange('x');
  const close = thrown(() => server.close());
  client.wire.close();
  return { close, faults: server.faults, gone: thrown(() => addon.stats(server.handle)) };
}

/** Ticks and promises of a turn run before the next one, and may write and flush. */
async function ticks(): Promise<object> {
  const order: string[] = [];
  const server = new Wire(addon, 'open', LISTEN(), (w, at) => {
    if (w.kind(at) !== EVENT_DATA) return;
    const [slot, generation, id, bytes] = [w.word(at, 1), w.word(at, 2), w.id(at), w.bytes(at)];
    order.push('turn');
    // In the turn's own commands, which must be run before a promise can write over them.
    w.send(slot, generation, id, bytes.subarray(0, 5), false);
    process.nextTick(() => order.push('tick'));
    void Promise.resolve().then(() => {
      order.push('promise');
      w.send(slot, generation, id, bytes.subarray(5), true);
      w.flush();
    });
  });
  const client = new Client(addon, server.port);
  const echoed = [await client.exchange('first and then'), await client.exchange('other and more')];
  client.close();
  server.close();
  return { order, echoed };
}

const found = {
  thrownThings,
  answers,
  long,
  inside: await inside(),
  closeInside: await closeInside(),
  elsewhere: await closeElsewhere(),
  below: await throwBelow(),
  ticks: await ticks(),
};
tell({ ...found, working: await honest(addon) });
