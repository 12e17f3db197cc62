/** What JavaScript can do to the buffers that it shares with the addon. */
import { caseAddon, Client, echoServer, honest, tell, thrown, tick } from '../wire.ts';

const addon = caseAddon();
const NAMES = ['eventRecords', 'eventData', 'commandRecords', 'commandData'] as const;
const collect = (): void => (globalThis as unknown as { gc: () => void }).gc();

const server = echoServer(addon);
const client = new Client(addon, server.port);
await client.exchange('before');

// Node's external memory cannot be transferred as it is...
const refused = NAMES.map((n) => thrown(() => structuredClone(server.opened[n], { transfer: [server.opened[n]] })) !== null);
// ...but detached it can be: by transfer() to another length, to the same, and then away.
const moved = NAMES.map((n, i) => (i % 2 === 0 ? server.opened[n].transfer() : server.opened[n].transfer(100)));
const detached = NAMES.map((n) => server.opened[n].detached);
const away = moved.map((m) => structuredClone(m, { transfer: [m] }).byteLength);
collect();

// The endpoint reads and writes its side still; JavaScript's side of it is empty.
for (let i = 0; i < 20; i++) {
  client.wire.send(client.slot, client.generation, 400 + 4 * i, Buffer.from('into the void'), true);
  client.wire.flush();
  await tick();
}
addon.submit(server.handle, 4096);
addon.flush(server.handle, 4096);
const clientBuffers = NAMES.map((n) => client.wire.opened[n].transfer(1 << 20).byteLength);
client.wire.addon.submit(client.wire.handle, 256);
await tick();
collect();
server.close();
client.wire.close();
collect();

// Buffers that outlive their endpoint are memory still.
const late = echoServer(addon);
const kept = NAMES.map((n) => new Uint8Array(late.opened[n]));
late.close();
collect();
await tick();
for (const k of kept) k.fill(0xa5);
const sums = kept.map((k) => k.every((b) => b === 0xa5));
tell({ refused, detached, away, clientBuffers, sums, working: await honest(addon) });
