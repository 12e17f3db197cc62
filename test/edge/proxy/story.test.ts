import { afterEach, expect, test } from '@jest/globals';
import { backend, fieldsOf, named } from '../../kit/backend.ts';
import { gateway, type Gateway } from '../../kit/gateway.ts';

const open: { close(): Promise<void> }[] = [];
const keep = <T extends { close(): Promise<void> }>(x: T): T => {
  open.push(x);
  return x;
};
afterEach(async () => {
  for (const x of open.splice(0).reverse()) await x.close();
});

const started = async (g: Gateway): Promise<Gateway> => keep(await g.start());

test('GET through the whole edge', async () => {
  const b = keep(await backend((r) => r.answer(200, 'hello', [['x-a', '1']])));
  const g = await started(gateway().route('/', b));
  const answer = await g.get('/a%62c/../d?q=1', [['x-b', '2']]);
  expect(answer).toMatchObject({ status: 200, body: 'hello', trailers: null });
  expect(answer.fields.get('x-a')).toBe('1');
  expect(b.last).toMatchObject({ method: 'GET', scheme: 'http', authority: 'site.example', path: '/d?q=1' });
  expect(fieldsOf(b.last)).toMatchObject({ 'x-b': '2', 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'https' });
});

test('POST echoes', async () => {
  const b = keep(await backend());
  const g = await started(gateway().route('/', b));
  const client = await g.client();
  const text = 'x'.repeat(300_000);
  const answer = await client.post('/echo', text);
  expect(answer.status).toBe(200);
  expect(answer.body).toBe(text);
});

test('two upstreams by path', async () => {
  const g = await started(
    gateway()
      .route('/a', keep(await named('a')))
      .route('/b', keep(await named('b'))),
  );
  const client = await g.client();
  expect((await client.get('/a/x')).body).toBe('a');
  expect((await client.get('/b')).body).toBe('b');
  expect((await client.get('/c')).status).toBe(404);
});
