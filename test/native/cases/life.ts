/** What keeps a process alive and what ends it; what an endpoint costs that has nothing to do. */
import { EVENT_DATA } from '../../../src/edge/quic/native/records.ts';
import { slowness } from '../../kit/cost.ts';
import { caseAddon, Client, echoServer, tell } from '../wire.ts';

const addon = caseAddon();
const how = process.argv[3];

async function connected(): Promise<Client> {
  const client = new Client(addon, echoServer(addon).port);
  await client.exchange('x');
  return client;
}

switch (how) {
  case 'idle': {
    const client = await connected();
    // Past what a handshake leaves to be done.
    await new Promise((r) => setTimeout(r, 500));
    const [before, turns] = [process.cpuUsage(), client.wire.turns];
    await new Promise((r) => setTimeout(r, 2000));
    const { user, system } = process.cpuUsage(before);
    tell({ ms: (user + system) / 1000 / slowness(), turns: client.wire.turns - turns });
    process.exit(0);
    break;
  }
  // Nothing is closed: the process must be ended by the signal that the test sends.
  case 'open':
    echoServer(addon);
    tell('open');
    break;
  // Everything is closed: the process ends by itself.
  case 'closed': {
    const server = echoServer(addon);
    const client = new Client(addon, server.port);
    await client.exchange('x');
    client.close();
    server.close();
    tell('closed');
    break;
  }
  case 'exit-in-turn': {
    const server = echoServer(addon, (w, at) => {
      if (w.kind(at) === EVENT_DATA) process.exit(7);
    });
    await new Client(addon, server.port).exchange('x');
    break;
  }
  case 'exit-when-open':
    await connected();
    process.exit(7);
    break;
  case 'throw-in-tick': {
    const server = echoServer(addon, (w, at) => {
      if (w.kind(at) === EVENT_DATA)
        process.nextTick(() => {
          throw new Error('from a tick');
        });
    });
    process.on('uncaughtException', (e) => {
      tell(e.message);
      process.exit(7);
    });
    await new Client(addon, server.port).exchange('x');
    break;
  }
  // Traffic without a pause leaves the loop to others as well.
  case 'fair': {
    const server = echoServer(addon);
    const clients = Array.from({ length: 4 }, () => new Client(addon, server.port));
    const traffic = { going: true, exchanges: 0 };
    const run = async (c: Client): Promise<void> => {
      for (const text = 'z'.repeat(200_000); traffic.going; traffic.exchanges++) await c.exchange(text);
    };
    const runs = clients.map(run);
    // CPU time: while another process has the machine, nothing of ours keeps the loop.
    const used = (): number => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    };
    let longest = 0;
    let last = used();
    const timer = setInterval(() => {
      longest = Math.max(longest, used() - last);
      last = used();
    }, 5);
    await new Promise((r) => setTimeout(r, 1500));
    // On a busy machine that is hardly any time; whoever started this bounds it.
    while (traffic.exchanges <= 20) await new Promise((r) => setTimeout(r, 50));
    traffic.going = false;
    clearInterval(timer);
    await Promise.all(runs);
    for (const c of clients) c.close();
    server.close();
    tell({ exchanges: traffic.exchanges, longest: longest / slowness() });
    break;
  }
}
