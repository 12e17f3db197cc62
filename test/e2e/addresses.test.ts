/** A Listener whose addresses change while clients of other makes download: at those that stay, nothing is cut. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { startGoBackend, type GoBackend } from '../kit/backends.ts';
import { formatHostPort } from '../../src/contract/resources/units.ts';
import { describeDriven } from '../kit/clients.ts';
import type { Connection } from '../kit/peers.ts';
import { freeUdpPort } from '../kit/process.ts';
import { startSpooky } from '../kit/spooky.ts';
import { ADDRESSES, certificateFiles, documents, HOSTS, listener, makeAuthority, makeLeaves, upstream } from './world.ts';

const authority = makeAuthority();
const leaves = makeLeaves(authority);
const CLIENTS = 8;
const SIZE = 3_000_000;

let backend: GoBackend;
beforeAll(async () => {
  backend = await startGoBackend('go');
}, 30_000);

/** The first address stays. One more, another one, all (none named), all of one family beside one of the other, some, and back. */
const STEPS = [['127.0.0.2'], ['127.0.0.3'], null, ['::'], [], null, ['127.0.0.2']] as const;

/** Where all addresses of the family are reached, on a machine that has it. */
const reached = (address: string): readonly string[] => (address === '::' ? ADDRESSES.filter((a) => a === '::1') : [address]);

describeDriven((client) => {
  describe.each(['1', '2'])('%s workers', (workers) => {
    test('clients that download while addresses come and go notice nothing', async () => {
      const port = await freeUdpPort();
      const text = (more: readonly string[] | null): string => {
        const whole = listener('open', port);
        const addresses = more === null ? '' : `  addresses: [${['127.0.0.1', ...more].map((a) => JSON.stringify(a)).join(', ')}]\n`;
        return documents(whole.replace(/ {2}addresses: .*\n/, addresses), upstream('go', [HOSTS.go], backend.address));
      };
      const spooky = await startSpooky({ documents: text([]), files: certificateFiles(leaves), args: ['--workers', workers] });
      const dial = (host: string) => ({
        address: formatHostPort({ host, port }),
        name: HOSTS.go,
        ca: authority.file,
        idleMs: 30_000,
        timeoutMs: 20_000,
      });
      const ask = { authority: HOSTS.go, path: `/bytes/${SIZE}`, timeoutMs: 60_000 };
      const connections: Connection[] = await Promise.all(Array.from({ length: CLIENTS }, () => client().driver.open(dial('127.0.0.1'))));
      const steps: (readonly string[] | null)[] = [...STEPS];
      const downloads = connections.map(async (connection) => {
        let count = 0;
        do {
          const answer = await connection.request(ask);
          expect([answer.status, answer.size]).toEqual([200, SIZE]);
          count++;
        } while (steps.length > 0);
        return count;
      });
      const downloaded = Promise.all(downloads);
      downloaded.catch(() => {});
      while (steps.length > 0) {
        const [more = null] = steps;
        await spooky.apply(text(more));
        // Newcomers, at what stays and at what has come.
        for (const host of ['127.0.0.1', ...(more ?? ['::']).flatMap(reached)]) {
          const fresh = await client().driver.open(dial(host));
          expect((await fresh.request({ ...ask, path: '/bytes/2000' })).size).toBe(2000);
          await fresh.close();
        }
        steps.shift();
      }
      for (const count of await downloaded) expect(count).toBeGreaterThan(0);
      // By the connections that they began with, all of which are one listener's.
      for (const connection of connections) expect((await connection.request({ ...ask, path: '/bytes/2000' })).size).toBe(2000);
      expect(await spooky.metric('spooky_quic_answered_total', { kind: 'reset' })).toBe(0);
      expect(await spooky.metric('spooky_connections_active', { listener: 'default/open' })).toBeGreaterThanOrEqual(CLIENTS);
    }, 120_000);
  });
});
