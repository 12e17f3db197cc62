/** An exception of ours, wherever it happens, costs at most the connection in which it happened: counted, logged, and nobody else notices. */
import { afterEach, describe, expect, test } from '@jest/globals';
import type { ServerConnection } from '../../../src/edge/http/message.ts';
import { ListenerApp } from '../../../src/edge/proxy/app.ts';
import { MemoryEngine } from '../../../src/edge/quic/memory/engine.ts';
import type { QuicHandler } from '../../../src/edge/quic/engine.ts';
import { backend, named } from '../../kit/backend.ts';
import { gateway, head, type Gateway } from '../../kit/gateway.ts';
import { FakeConnection, Rig } from './fakes.ts';

const open: { close(): Promise<void> }[] = [];
const keep = <T extends { close(): Promise<void> }>(x: T): T => {
  open.push(x);
  return x;
};
afterEach(async () => {
  for (const x of open.splice(0).reverse()) await x.close();
});

describe('the application above HTTP/3', () => {
  const acts: readonly (readonly [where: string, act: (app: ListenerApp, c: ServerConnection) => void])[] = [
    ['app.connection', (app, c) => app.onConnection(c)],
    ['app.protocol_error', (app, c) => app.onProtocolError(c, 'stream', 'H3_MESSAGE_ERROR', 'M1')],
    ['app.move', (app, c) => app.onMove(c, '127.0.0.1', 4433)],
    ['app.close', (app, c) => app.onClose(c, { side: 'local', app: false, code: 10, reason: 'InvalidState' })],
    ['app.limit', (app, c) => app.onLimit(c, 'headerBytes')],
  ];
  for (const [where, act] of acts) {
    test(`${where}: closes that connection`, () => {
      const rig = new Rig();
      const app = new ListenerApp(rig.plant, {
        view() {
          throw new Error('no view');
        },
      });
      const c = new FakeConnection();
      act(app, c);
      expect(c.closed).toEqual([0x102]);
      expect(rig.counted('internal_errors_total')).toEqual({ [where]: 1 });
      expect(rig.logged).toMatchObject([{ level: 'error', fields: { where } }]);
    });
  }

  test('a client that moved is told of at debug, with where it was and where it is', () => {
    const rig = new Rig();
    const c = new FakeConnection();
    Object.assign(c, { remoteAddress: '2001:db8::a', remotePort: 443 });
    new ListenerApp(rig.plant, { view: () => rig.view }).onMove(c, '127.0.0.1', 4433);
    const fields = { listener: rig.view.label, from: '127.0.0.1:4433', to: '[2001:db8::a]:443' };
    expect(rig.logged).toEqual([{ level: 'debug', msg: 'client moved', fields }]);
  });

  test('an error of the transport is told of at debug, by its name; other ends are not', () => {
    const rig = new Rig();
    const app = new ListenerApp(rig.plant, { view: () => rig.view });
    const c = new FakeConnection();
    for (const side of ['local', 'remote'] as const) app.onClose(c, { side, app: false, code: 10, reason: 'InvalidState' });
    app.onClose(c, { side: 'local', app: true, code: 0x107, reason: 'budget' });
    app.onClose(c, { side: 'remote', app: false, code: 0, reason: '' });
    app.onClose(c, { side: 'timeout', app: false, code: 0, reason: 'idle' });
    app.onClose(c, { side: 'reset', app: false, code: 0, reason: '' });
    const fields = { listener: rig.view.label, client: c.remoteAddress, code: 10, reason: 'InvalidState' };
    expect(rig.logged).toEqual([
      { level: 'debug', msg: 'transport error', fields: { ...fields, side: 'local' } },
      { level: 'debug', msg: 'transport error', fields: { ...fields, side: 'remote' } },
    ]);
  });

  test('an answer that is complete here and that nobody reads is no word on the other requests of its connection', () => {
    const rig = new Rig();
    const app = new ListenerApp(rig.plant, { view: () => rig.view });
    const s = rig.request({ method: 'POST' }, false);
    app.onLimit(rig.connection, 'responseStall');
    s.handler?.onRequestAbort('reset', 0x10c);
    expect(rig.counted('limit_rejects_total')).toEqual({ 'edge/public responseStall': 1 });
    expect(rig.counted('requests_total')).toEqual({ 'edge/public web/api 0 client_reset': 1 });
  });

  test('app.field_dropped', () => {
    const rig = new Rig();
    const plant = {
      ...rig.plant,
      drops: Object.assign(Object.create(null), {
        byName: () => {
          throw new Error('x');
        },
      }),
    };
    const app = new ListenerApp(plant, { view: () => rig.view });
    const c = new FakeConnection();
    app.onFieldDropped(c, 'underscore');
    expect(c.closed).toEqual([0x102]);
    expect(rig.counted('internal_errors_total')).toEqual({ 'app.field_dropped': 1 });
  });
});

describe('the whole edge', () => {
  const alive = async (g: Gateway): Promise<void> => {
    expect((await g.get('/')).status).toBe(200);
  };

  test('every event of the engine: the connection is closed, the next one works', async () => {
    const b = keep(await backend((r) => r.answer(200, 'ok')));
    const engine = new MemoryEngine();
    let inner: QuicHandler | null = null;
    const listen = engine.listen.bind(engine);
    engine.listen = (o, h) => {
      inner = h;
      return listen(o, h);
    };
    const g = keep(await gateway({ engine }).route('/', b).start());
    await alive(g);
    const handler = inner as unknown as QuicHandler;
    // A connection that throws at whatever is asked of it.
    const broken = new Proxy({} as Parameters<QuicHandler['onData']>[0], {
      get: (_t, name) => {
        if (name === 'data')
          return new Proxy(
            {},
            {
              get: () => {
                throw new Error('state');
              },
            },
          );
        throw new Error(`broken ${String(name)}`);
      },
    });
    const bytes = Buffer.from([0]);
    for (const event of [
      () => handler.onConnection(broken),
      () => handler.onData(broken, 0, bytes, 0, 1, false),
      () => handler.onReset(broken, 0, 1),
      () => handler.onStop(broken, 0, 1),
      () => handler.onWritable(broken, 0),
      () => handler.onPath(broken),
      () => handler.onClose(broken, { side: 'local', app: true, code: 0, reason: '' }),
      () => handler.onDatagram(broken, bytes, 0, 1),
      () => handler.onForeign(9, bytes, 0, 1, bytes, bytes),
      () => handler.onFault(new Error('dead')),
    ]) {
      try {
        event();
      } catch (e) {
        // What a connection object of the engine throws by itself is not ours to catch twice; it must not break the listener.
        expect(String(e)).toMatch(/broken|state/);
      }
      handler.onTurnEnd();
      await alive(g);
    }
    expect(g.counted('quic_handover_datagrams_total')).toEqual({ 'out dropped': 1 });
    expect(g.logged.some((l) => l.msg === 'QUIC endpoint failed')).toBe(true);
  });

  test('a sink of the access log that throws', async () => {
    const g = keep(gateway().route('/', keep(await named('x'))));
    g.lines.push = () => {
      throw new Error('sink');
    };
    await g.start();
    await alive(g);
    await new Promise((done) => setImmediate(done));
    await alive(g);
    expect(g.counted('internal_errors_total')['access_log']).toBeGreaterThan(0);
  });

  test('a dialler that throws: 500 for that request', async () => {
    const rig = new Rig({
      connect: () => {
        throw new Error('dial');
      },
    });
    const s = rig.request();
    expect(s.status).toBe(500);
    expect(rig.counted('internal_errors_total')).toEqual({ 'exchange.request': 1 });
    expect(rig.active).toBe(0);
  });

  test('a backend that breaks every rule in turn leaves the edge as it was', async () => {
    const acts: ((id: number) => [type: number, flags: number, id: number, payload: Buffer])[] = [
      () => [0x0, 0, 0, Buffer.from('x')],
      (id) => [0x1, 4, id, Buffer.from('ff'.repeat(40), 'hex')],
      (id) => [0x5, 4, id, Buffer.alloc(8)],
      () => [0x4, 0, 0, Buffer.alloc(5)],
      () => [0x6, 0, 0, Buffer.alloc(3)],
      (id) => [0x8, 0, id, Buffer.alloc(4)],
      (id) => [0x3, 0, id, Buffer.alloc(3)],
      (id) => [0x0, 9, id, Buffer.from('ff', 'hex')],
    ];
    let at = 0;
    const b = keep(
      await backend((r) =>
        r.path === '/bad' ? r.connection.frame(...(acts[at++ % acts.length] as (typeof acts)[number])(r.id)) : r.answer(200, 'ok'),
      ),
    );
    const g = keep(await gateway().route('/', b).start());
    const c = await g.client();
    for (let i = 0; i < acts.length; i++) {
      const answer = await c.answer(c.send(head('GET', '/bad')));
      expect([i, answer.status]).toEqual([i, 502]);
      expect((await c.get('/')).status).toBe(200);
    }
    expect(g.counted('internal_errors_total')).toEqual({});
  });
});
