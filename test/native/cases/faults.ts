/** Panics and socket errors (an addon with the feature `inject`): the endpoint dies of them, and nothing else does. */
import { caseAddon, Client, echoServer, honest, LISTEN, tell, thrown, tick, type Wire } from '../wire.ts';

const addon = caseAddon();
const inject = (w: Wire, kind: string): void => addon.inject?.(w.handle, kind);
const bystander = echoServer(addon);
const witness = new Client(addon, bystander.port);
await witness.ready;

async function after(kind: string): Promise<object> {
  const server = echoServer(addon);
  const client = new Client(addon, server.port);
  await client.exchange('before');
  const threw = thrown(() => inject(server, kind));
  for (let i = 0; i < 20 && server.faults.length === 0; i++) await tick();
  const { faults, turns } = server;
  const later = [thrown(() => server.flush()), thrown(() => addon.stats(server.handle)), thrown(() => inject(server, kind))];
  const closes = [thrown(() => server.close()), thrown(() => addon.stats(server.handle)), thrown(() => server.close())];
  // Its port is free: the descriptor is closed.
  const again = echoServer(addon, undefined, JSON.stringify({ ...(JSON.parse(LISTEN()) as object), port: server.port }));
  const reopened = again.port === server.port;
  again.close();
  client.wire.close();
  for (let i = 0; i < 5; i++) await tick();
  return { threw, faults: [...faults], later, closes, reopened, quiet: server.turns === turns };
}

/** A panic in an export that is called from inside `turn`: `fault` waits until `turn` is over. */
async function nested(): Promise<object> {
  const seen: (string | null)[] = [];
  let during = -1;
  const server = echoServer(addon, (w) => {
    if (seen.length > 0) return;
    seen.push(
      thrown(() => inject(w, 'panic-export')),
      thrown(() => addon.submit(w.handle, 0)),
      thrown(() => addon.close(w.handle)),
    );
    during = w.faults.length;
  });
  const client = new Client(addon, server.port);
  for (let i = 0; i < 200 && server.faults.length === 0; i++) await new Promise((r) => setTimeout(r, 5));
  client.wire.close();
  return { seen, during, faults: server.faults, after: thrown(() => addon.stats(server.handle)) };
}

const found = {
  export: await after('panic-export'),
  turn: await after('panic-turn'),
  socket: await after('socket-error'),
  nested: await nested(),
  unknown: thrown(() => inject(bystander, 'nothing')),
  bystander: await witness.exchange('still here'),
  bystanderFaults: bystander.faults,
};
witness.close();
bystander.close();
tell({ ...found, working: await honest(addon) });
