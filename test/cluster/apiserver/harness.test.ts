import { beforeAll, expect, test } from '@jest/globals';
import { startApi, type Api } from '../api.ts';

let api: Api;
beforeAll(async () => {
  api = await startApi();
}, 120_000);

test('the server says its release, as kubectl does', async () => {
  const { clientVersion, serverVersion } = JSON.parse(await api.kubectl(['version', '-o', 'json'])) as Record<
    string,
    { gitVersion: string }
  >;
  expect(serverVersion?.gitVersion).toMatch(/^v1\.\d+\.\d+$/);
  expect(clientVersion?.gitVersion).toMatch(/^v1\.\d+\.\d+$/);
});

test('a service account has a token of its own, and no right that nobody gave it', async () => {
  const authorization = `Bearer ${await api.token('tokens/somebody')}`;
  const { status, body } = await api.request('GET', '/api/v1/namespaces/tokens/secrets', undefined, { authorization });
  expect(status).toBe(403);
  expect(body).toMatchObject({ kind: 'Status', reason: 'Forbidden' });
  expect((body as { message: string }).message).toContain('system:serviceaccount:tokens:somebody');
  expect(await api.request('GET', '/api/v1', undefined, { authorization: 'Bearer nonsense' })).toMatchObject({ status: 401 });
});

test('what is written outlives a kill -9', async () => {
  await api.namespace('kept', { a: 'b' });
  await api.kill();
  await expect(api.request('GET', '/readyz')).rejects.toThrow('ECONNREFUSED');
  await api.restart();
  expect(await api.request('GET', '/api/v1/namespaces/kept')).toMatchObject({ status: 200, body: { metadata: { labels: { a: 'b' } } } });
}, 60_000);

test('nothing is left of one that was stopped', async () => {
  const other = await startApi();
  const { pid } = other;
  expect(pid).toBeGreaterThan(0);
  await other.stop();
  expect(() => process.kill(pid, 0)).toThrow();
  await expect(other.request('GET', '/readyz')).rejects.toThrow();
}, 60_000);
