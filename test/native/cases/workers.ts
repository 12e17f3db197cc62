/** Worker threads with an endpoint each, terminated under traffic, round after round; the addon is not loaded in the main thread until then. */
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { caseAddon, Client, echoServer, honest, tell } from '../wire.ts';

const ROUNDS = 6;
const WORKERS = 4;
const EXCHANGES = 30;

const rss = (): number => Math.round(process.memoryUsage.rss() / 2 ** 20);

/** A worker that is ended after so many exchanges; its exit code. */
function under(n: number, how: string): Promise<number> {
  const worker = new Worker(new URL(import.meta.url), { argv: [process.argv[2] as string, how] });
  let exchanges = 0;
  return new Promise((resolve, reject) => {
    worker.on('message', () => {
      if (++exchanges === n && how === 'terminate') void worker.terminate();
    });
    worker.on('error', reject);
    worker.on('exit', resolve);
  });
}

async function main(): Promise<void> {
  const codes: number[][] = [];
  const sizes: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    codes.push(await Promise.all(Array.from({ length: WORKERS }, () => under(EXCHANGES, 'terminate'))));
    sizes.push(rss());
  }
  const others = [await under(0, 'exit'), await under(0, 'leave'), await under(0, 'throw').catch(() => -1)];
  tell({ codes, sizes, others, working: await honest(caseAddon()) });
}

/** Traffic without an end, from two clients. */
async function serve(): Promise<void> {
  const how = process.argv[3];
  const addon = caseAddon();
  let turns = 0;
  const server = echoServer(addon, () => {
    if (++turns < 40) return;
    // In the middle of a turn.
    if (how === 'exit') process.exit(9);
    if (how === 'throw') setImmediate(() => Promise.reject(new Error('unhandled')));
  });
  const clients = [new Client(addon, server.port), new Client(addon, server.port)];
  const traffic = { going: true };
  const run = async (c: Client): Promise<void> => {
    const text = 'y'.repeat(5000);
    while (traffic.going && (await c.exchange(text)) === text) parentPort?.postMessage(1, []);
  };
  if (how === 'leave') setTimeout(() => (traffic.going = false), 50);
  await Promise.all(clients.map(run));
  for (const c of clients) c.close();
  server.close();
}

await (isMainThread ? main() : serve());
