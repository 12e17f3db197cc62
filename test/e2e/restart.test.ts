/** What a process that was killed left behind is reset by the next one: connection ids and reset tokens derive from the key file alone. */
import { randomBytes } from 'node:crypto';
import { beforeAll, expect, test } from '@jest/globals';
import { startGoBackend, type GoBackend } from '../kit/backends.ts';
import { describeDriven } from '../kit/clients.ts';
import type { Dial, Failure } from '../kit/peers.ts';
import { freeUdpPort } from '../kit/process.ts';
import { startSpooky, type Spooky } from '../kit/spooky.ts';
import { certificateFiles, documents, HOSTS, listener, makeAuthority, makeLeaves, upstream } from './world.ts';

const authority = makeAuthority();
const leaves = makeLeaves(authority);
const small = { authority: HOSTS.go, path: '/bytes/2000' };

let backend: GoBackend;
beforeAll(async () => {
  backend = await startGoBackend('go');
}, 30_000);

interface Served {
  readonly spooky: Spooky;
  readonly dial: Dial;
  /** Another process in the same place; `key`: with another key file. */
  again(key?: Buffer): Promise<Spooky>;
}

async function serve(engine?: string): Promise<Served> {
  const port = await freeUdpPort();
  const files = { ...certificateFiles(leaves), key: randomBytes(32) };
  const options = {
    documents: documents(listener('open', port), upstream('go', [HOSTS.go], backend.address)),
    args: ['--key-file', 'key', ...(engine === undefined ? [] : ['--engine', engine])],
  };
  const spooky = await startSpooky({ ...options, files });
  return {
    spooky,
    dial: { address: `127.0.0.1:${port}`, name: HOSTS.go, ca: authority.file },
    again: (key = files.key) => startSpooky({ ...options, args: ['--key-file', 'key'], files: { ...files, key }, dir: spooky.dir }),
  };
}

describeDriven((client) => {
  /** How the connection to a killed process ends when its client speaks to the next one; null: it does not within five seconds. */
  async function ending({ spooky, dial }: Served, next: () => Promise<Spooky>): Promise<Failure | null> {
    const connection = await client().driver.open(dial);
    expect((await connection.request(small)).size).toBe(2000);
    await spooky.kill();
    const successor = await next();
    const asked = connection.attempt({ ...small, timeoutMs: 5000 });
    const how = await Promise.race([
      connection.closed().then((end) => end.how),
      asked.then((a) => (a.error?.kind === 'timeout' ? null : (a.error as Failure))),
    ]);
    const fresh = await client().driver.open(dial);
    expect((await fresh.request(small)).size).toBe(2000);
    await fresh.close();
    await successor.stop();
    return how;
  }

  test('killed with -9 and started again with its key file: old connections are reset', async () => {
    const served = await serve();
    expect(await ending(served, () => served.again())).toMatchObject({ kind: 'reset', remote: true });
  }, 60_000);

  test('with another key file: nothing that the client could take for a reset', async () => {
    const served = await serve();
    expect(await ending(served, () => served.again(randomBytes(32)))).toBe(null);
  }, 60_000);

  test('the process before it had the engine matrixai: old connections are reset all the same', async () => {
    const served = await serve('matrixai');
    expect(await ending(served, () => served.again())).toMatchObject({ kind: 'reset', remote: true });
  }, 60_000);
});
