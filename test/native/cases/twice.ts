/** The addon loaded twice: the same file under two modules, and a copy of it. */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Addon } from '../../../src/edge/quic/native/binding.ts';
import { caseAddon, Client, echoServer, honest, tell, thrown } from '../wire.ts';

const first = caseAddon();
const file = process.argv[2] as string;
const module = { exports: {} };
process.dlopen(module, file);
const second = module.exports as Addon;
const folder = mkdtempSync(join(tmpdir(), 'spooky-'));
copyFileSync(file, join(folder, 'other.node'));
const third = createRequire(import.meta.url)(join(folder, 'other.node')) as Addon;
rmSync(folder, { recursive: true });

const server = echoServer(first);
const strangers = [thrown(() => second.stats(server.handle)), thrown(() => third.stats(server.handle))];
const echoes: string[] = [];
for (const addon of [first, second, third]) {
  const client = new Client(addon, server.port);
  echoes.push(await client.exchange('across'));
  client.close();
}
server.close();
tell({ same: first === second, strangers, echoes, working: [await honest(first), await honest(second), await honest(third)] });
