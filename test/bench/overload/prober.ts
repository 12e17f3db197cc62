/** Asks a health endpoint again and again, as a kubelet does, but much more often: `node prober.ts URL`. At its end it says how long each answer took. */
import { Agent, get } from 'node:http';

const EVERY_MS = 50;
const PATIENCE_MS = 5000;

const url = process.argv[2] ?? '';
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const times: number[] = [];
let failed = 0;
const end = new AbortController();

function ask(): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = get(url, { agent, timeout: PATIENCE_MS }, (answer) => {
      answer.resume();
      answer.once('end', () => resolve(answer.statusCode === 200));
      answer.once('error', () => resolve(false));
    });
    asked.once('timeout', () => asked.destroy());
    asked.once('error', () => resolve(false));
  });
}

process.once('SIGTERM', () => end.abort());
process.stdout.write('begun\n');
while (!end.signal.aborted) {
  const began = performance.now();
  if (await ask()) times.push(performance.now() - began);
  else failed++;
  await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
}
agent.destroy();
process.stdout.write(`${JSON.stringify({ times, failed })}\n`);
