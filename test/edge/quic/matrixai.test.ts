import { expect, test } from '@jest/globals';
import { MatrixaiEngine } from '../../../src/edge/quic/matrixai/engine.ts';
import { connectOptions, echo, listenOptions, pattern, Recorder, send } from './kit.ts';

test('echo', async () => {
  const errors: unknown[] = [];
  const engine = new MatrixaiEngine({ onInternalError: (w, e) => errors.push([w, e]) });
  const server = echo();
  const ep = await engine.listen(listenOptions(), server);
  const r = new Recorder();
  const c = await engine.connect(connectOptions(ep.addresses[0]?.port as number), r);
  const body = pattern(1 << 20);
  let at = 0;
  const push = (): void => {
    while (at < body.length) {
      const end = Math.min(body.length, at + 65536);
      const more = c.write(0, body, at, end, end === body.length);
      at = end;
      if (!more) break;
    }
  };
  (r as unknown as { hooks: object }).hooks = { onWritable: push };
  push();
  await r.until(() => r.seen(c, 0).fin);
  expect(r.seen(c, 0).data().equals(body)).toBe(true);
  send(c, 4, Buffer.from('x'), true);
  await r.until(() => r.seen(c, 4).fin);
  c.close(true, 0x100, 'bye');
  await server.until(() => server.closes.length > 0);
  expect(server.closes[0]?.why).toEqual({ side: 'remote', app: true, code: 0x100, reason: 'bye' });
  await ep.close();
  expect(errors).toEqual([]);
});
