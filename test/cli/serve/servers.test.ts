import { createServer } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { Servers } from '../../../src/cli/serve/servers.ts';
import type { Service } from '../../../src/control/service.ts';
import type { ServeSettings } from '../../../src/settings.ts';
import { freeTcpPort } from '../../kit/process.ts';

let servers: Servers | null = null;
afterEach(() => servers?.close());

test('what is about to be bound while all is closed is not bound afterwards', async () => {
  const port = await freeTcpPort();
  const settings = { metrics: { host: '127.0.0.1', port }, admin: null, nodeName: 'n' } as unknown as ServeSettings;
  servers = new Servers({ settings, token: () => null, defect: () => {} });
  const service = { families: null } as unknown as Service;
  const started = servers.start(service);
  await servers.close();
  expect(servers.bound).toEqual({ metrics: null, admin: null });
  const another = createServer();
  await new Promise<void>((resolve, reject) => another.once('error', reject).listen(port, '127.0.0.1', resolve));
  await new Promise((done) => another.close(done));
  expect(await started).toBeNull();
  // And they can be started again.
  expect([await servers.start(service), servers.bound]).toEqual([null, { metrics: `127.0.0.1:${port}`, admin: null }]);
});
