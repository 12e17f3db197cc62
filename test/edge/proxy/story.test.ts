import { afterEach, expect, test } from '@jest/globals';
import { backend, fieldsOf, named } from '../../kit/backend.ts';
import { gateway, head, type Gateway } from '../../kit/gateway.ts';

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

test('RFC 9218: of two answers ready together the urgent one comes first; incremental ones share', async () => {
  const size = 1 << 20;
  const b = keep(await backend((r) => r.answer(200, Buffer.alloc(size, 'x'))));
  const g = await started(gateway().route('/', b));
  const c = await g.client();
  const order = async (...priorities: string[]): Promise<number[][]> => {
    const ids = priorities.map((p) => c.send(head('GET', '/', undefined, [['priority', p]])));
    const shares: number[][] = [];
    const done = new Set<number>();
    await c.recorder.until(() => {
      for (const id of ids) {
        if (!c.recorder.seen(c.conn, id).fin || done.has(id)) continue;
        done.add(id);
        shares.push(ids.map((other) => c.recorder.seen(c.conn, other).bytes / size));
      }
      return done.size === ids.length;
    });
    return shares;
  };
  // When the first of them was complete, so much of each was here.
  const [urgent] = await order('u=7', 'u=0');
  expect(urgent?.[1]).toBeGreaterThan(0.99);
  expect(urgent?.[0]).toBeLessThan(0.2);
  const [shared] = await order('u=3, i', 'u=3, i');
  expect(Math.min(...(shared as number[]))).toBeGreaterThan(0.5);
});

test('H15: rapid resets close that connection; the backend is left clean and others unharmed', async () => {
  const b = keep(await backend((r) => (r.path === '/slow' ? undefined : r.answer(200, 'ok'))));
  const g = await started(gateway().route('/', b));
  const honest = await g.client();
  const c = await g.client();
  for (let i = 0; i < 300; i++) c.reset(c.send(head('GET', '/slow')));
  expect(await c.closed()).toMatchObject({ side: 'remote', app: true, code: 0x107 });
  expect((await honest.get('/')).body).toBe('ok');
  expect(g.counted('protocol_errors_total')).toEqual({ 'edge/public H3_EXCESSIVE_LOAD H15': 1 });
  await Promise.all(b.requests.filter((r) => r.path === '/slow').map((r) => r.untilReset()));
  expect(g.edge.activity().every((a) => a.active === 0)).toBe(true);
  expect(g.counted('requests_active')).toEqual({});
});

test('streaming both ways at once', async () => {
  const b = keep(
    await backend(null, {
      onRequest: (r) => {
        r.respond(200, [['content-type', 'application/grpc']]);
        return true;
      },
      onFrame: (p, f) => {
        if (f.type !== 0) return false;
        const r = p.requests.get(f.id);
        if (f.payload.length > 0) r?.write(`re:${f.payload.toString()}`);
        if ((f.flags & 1) !== 0) r?.trail([['grpc-status', '0']]);
        return true;
      },
    }),
  );
  const g = await started(gateway().route('/', b));
  const c = await g.client();
  const id = c.send(
    head('POST', '/svc/Method', undefined, [
      ['te', 'trailers'],
      ['content-type', 'application/grpc'],
    ]),
    null,
  );
  let at = 0;
  for (const word of ['one', 'two', 'three']) {
    c.body(id, word);
    at += word.length;
    const seen = c.recorder.seen(c.conn, id);
    await c.recorder.until(() => seen.data().toString('latin1').includes(`re:${word}`));
  }
  c.raw(id, Buffer.alloc(0), true);
  const answer = await c.answer(id);
  expect(answer.body).toBe('re:onere:twore:three');
  expect(answer.trailers).toEqual(new Map([['grpc-status', '0']]));
  expect(b.last.field('te')).toBe('trailers');
  expect(at).toBe(11);
});

test('100-continue: the backend’s word reaches the client before its body goes out', async () => {
  const b = keep(
    await backend(null, {
      onRequest: (r) => {
        if (r.field('expect') === '100-continue') r.connection.headers(r.id, [[':status', '100']], false);
        return false;
      },
    }),
  );
  const g = await started(gateway().route('/', b));
  const c = await g.client();
  const id = c.send(head('POST', '/x', undefined, [['expect', '100-continue']]), null);
  await c.arrived(id, 1);
  expect(b.last.ended).toBe(false);
  c.body(id, 'payload', true);
  const answer = await c.answer(id);
  expect(answer).toMatchObject({ informs: [100], status: 200, body: 'payload' });
});
