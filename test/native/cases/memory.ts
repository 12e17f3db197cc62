/** Five thousand connections opened and closed, some at a time: what they took comes back. */
import { caseAddon, Client, echoServer, honest, tell } from '../wire.ts';

const TOTAL = 5000;
const AT_ONCE = 50;
const addon = caseAddon();
const server = echoServer(addon);
const collect = (globalThis as unknown as { gc: () => void }).gc;
const rss = (): number => Math.round(process.memoryUsage.rss() / 2 ** 20);
const sizes: number[] = [];
let served = 0;
for (let done = 0; done < TOTAL; done += AT_ONCE) {
  const clients = Array.from({ length: AT_ONCE }, () => new Client(addon, server.port));
  for (const c of clients) if ((await c.exchange('hello')) === 'hello') served++;
  for (const c of clients) c.close();
  if ((done + AT_ONCE) % 500 === 0) {
    collect();
    await new Promise((r) => setTimeout(r, 20));
    sizes.push(rss());
  }
}
const left = (JSON.parse(addon.stats(server.handle)) as { connections: number }).connections;
server.close();
tell({ served, left, sizes, working: await honest(addon) });
