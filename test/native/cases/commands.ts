/** Command records at random: without connections, then at live ones, from both ends. */
import { randomFillSync } from 'node:crypto';
import { COMMAND_CLOSE, EVENT_CONN, WORDS } from '../../../src/edge/quic/native/records.ts';
import { caseAddon, Client, echoServer, honest, tell, tick, type Wire } from '../wire.ts';

const addon = caseAddon();
const BATCHES = Number(process.argv[3]);
let seed = Number(process.argv[4]);

/** xorshift: the same numbers for the same seed. */
function random(below: number): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % below;
}

function garbage(w: Wire, count: number): void {
  randomFillSync(w.commands, 0, count * WORDS);
}

/** Records that get further than their first check: a live connection, small ids, spans that mostly fit. */
function plausible(w: Wire, count: number, target: { slot: number; generation: number }): void {
  for (let at = 0; at < count * WORDS; at += WORDS) {
    const kind = random(11);
    const c = w.commands;
    c[at] = kind === COMMAND_CLOSE && random(2000) !== 0 ? 0 : kind;
    c[at + 1] = random(50) === 0 ? random(0xffff_ffff) : target.slot;
    c[at + 2] = random(50) === 0 ? random(0xffff_ffff) : target.generation;
    c[at + 3] = random(4) === 0 ? random(0xffff_ffff) : random(400);
    c[at + 4] = random(8) === 0 ? random(0xffff_ffff) : 0;
    c[at + 5] = random(4) === 0 ? random(0xffff_ffff) : random(w.out.length);
    c[at + 6] = random(8) === 0 ? random(0xffff_ffff) : random(300);
    c[at + 7] = random(16);
  }
}

let records = 0;
const lonely = echoServer(addon);
for (let i = 0; i < BATCHES; i++) {
  garbage(lonely, 4096);
  if (i % 8 === 0) addon.flush(lonely.handle, 4096);
  else addon.submit(lonely.handle, 4096);
  records += 4096;
}
for (let i = 0; i < BATCHES / 4; i++) {
  plausible(lonely, 4096, { slot: random(100), generation: random(100) });
  addon.flush(lonely.handle, 4096);
  records += 4096;
}
lonely.close();

let connections = 0;
/** What the other end learned of it all. */
const reached = { client: 0, server: 0 };
const target = { slot: 0, generation: 0 };
const server = echoServer(addon, (w, at) => {
  reached.server++;
  if (w.kind(at) === EVENT_CONN) [target.slot, target.generation] = [w.word(at, 1), w.word(at, 2)];
});
let client = new Client(addon, server.port);
await client.ready;
for (let i = 0; i < BATCHES; i++) {
  plausible(server, 1000, target);
  addon.flush(server.handle, 1000);
  plausible(client.wire, 250, client);
  addon.flush(client.wire.handle, 250);
  records += 1250;
  await tick();
  const over = await Promise.race([client.closed.then(() => true), tick().then(() => false)]);
  if (over || i % 50 === 49) {
    reached.client += client.events;
    client.wire.close();
    client = new Client(addon, server.port);
    connections++;
    await client.ready;
  }
}
client.wire.close();
// The same endpoint serves an honest client as if nothing had been.
const last = new Client(addon, server.port);
const served = await last.exchange('x'.repeat(20_000));
last.close();
const faults = [...server.faults, ...lonely.faults];
server.close();
tell({ records, connections, reached, served: served.length, faults, working: await honest(addon) });
