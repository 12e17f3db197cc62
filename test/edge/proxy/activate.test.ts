/** Snapshots come and go: what changes, what stays, and that nothing is served in between. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { ManualClock } from '../../../src/lib/clock.ts';
import type { QuicEngine, TlsTable } from '../../../src/edge/quic/engine.ts';
import { MemoryEngine } from '../../../src/edge/quic/memory/engine.ts';
import { backend, named } from '../../kit/backend.ts';
import { makeCa, makeLeaf } from '../../kit/certs.ts';
import { certificate, gateway, head, type Gateway } from '../../kit/gateway.ts';
import { eventually } from '../../kit/process.ts';
import { onRealEngines } from '../quic/native/built.ts';

const open: { close(): Promise<void> }[] = [];
const keep = <T extends { close(): Promise<void> }>(x: T): T => {
  open.push(x);
  return x;
};
afterEach(async () => {
  for (const x of open.splice(0).reverse()) await x.close();
});

const settle = async (): Promise<void> => {
  for (let i = 0; i < 30; i++) await new Promise((done) => setImmediate(done));
};

describe('load and switch', () => {
  test('a load changes nothing that serves; the switch changes all at once', async () => {
    const [one, two] = [keep(await named('one')), keep(await named('two'))];
    const g = keep(await gateway().route('/', one).start());
    const c = await g.client();
    expect((await c.get('/')).body).toBe('one');
    await g.routeTo({ upstream: 'next' }, { to: [two] }).load();
    expect((await c.get('/')).body).toBe('one');
    g.switch();
    expect((await c.get('/')).body).toBe('two');
    expect(g.counted('connections_total')).toEqual({ 'edge/public accepted': 1 });
  });

  test('until the switch a group goes on with the endpoints that are for it, and what is told of the next one’s waits for that', async () => {
    const ca = makeCa('backend');
    const leaf = makeLeaf(ca, { names: ['127.0.0.1'] });
    const [clear, secure] = [keep(await named('clear')), keep(await backend((r) => r.answer(200, 'secure'), { tls: leaf }))];
    const g = keep(
      await gateway()
        .routeTo({ upstream: 'api' }, { to: [clear] })
        .start(),
    );
    const c = await g.client();
    const tls = { verify: false, serverName: null, sni: false, ca: null, client: null };
    await g.routeTo({ upstream: 'api' }, { to: [secure], protocol: 'H2', tls }).load();
    expect(await c.get('/')).toMatchObject({ status: 200, body: 'clear' });
    g.switch();
    expect(await c.get('/')).toMatchObject({ status: 200, body: 'secure' });
    // It is not to be: the state before comes back, with its list.
    await g.routeTo({ upstream: 'api' }, { to: [clear] }).load();
    expect(await c.get('/')).toMatchObject({ status: 200, body: 'secure' });
    await g.routeTo({ upstream: 'api' }, { to: [secure, secure], protocol: 'H2', tls }).load();
    g.switch();
    expect(await c.get('/')).toMatchObject({ status: 200, body: 'secure' });
  });

  test('a version that was not loaded is not switched to', async () => {
    const g = keep(
      await gateway()
        .route('/', keep(await named('one')))
        .start(),
    );
    const c = await g.client();
    g.edge.switch(99);
    expect((await c.get('/')).body).toBe('one');
    expect(g.logged.some((l) => l.level === 'error' && l.fields['version'] === 99)).toBe(true);
  });

  test('exchanges in flight finish on the old snapshot', async () => {
    const slow = keep(await backend(() => {}));
    const g = keep(await gateway().route('/', slow).start());
    const c = await g.client();
    const id = c.send(head('GET', '/'));
    const r = await slow.began();
    await g.route('/other', keep(await named('other'))).start();
    expect((await c.get('/')).status).toBe(404);
    r.answer(200, 'from the old one');
    expect(await c.answer(id)).toMatchObject({ status: 200, body: 'from the old one' });
  });

  test('requests under way while snapshots are switched all succeed', async () => {
    const b = keep(await backend((r) => r.answer(200, 'ok')));
    const g = keep(await gateway().route('/', b).start());
    const c = await g.client();
    let failed = 0;
    for (let round = 0; round < 20; round++) {
      const ids = Array.from({ length: 20 }, () => c.send(head('GET', '/')));
      await g.routeTo({ timeouts: { responseMs: 1000 + round } }, { to: [b] }).start();
      for (const id of ids) if ((await c.answer(id)).status !== 200) failed++;
    }
    expect(failed).toBe(0);
    expect(g.counted('connections_total')).toEqual({ 'edge/public accepted': 1 });
    expect(b.server.connections.length).toBe(1);
  });

  test('an endpoint whose identity stays keeps its connection through a change of everything around it', async () => {
    const b = keep(await named('b'));
    const g = keep(
      await gateway()
        .routeTo({ upstream: 'api' }, { to: [b] })
        .start(),
    );
    const c = await g.client();
    await c.get('/');
    await g
      .routeTo({ upstream: 'api', balancing: { type: 'Random' }, match: { path: { type: 'Prefix', value: '/x' } } }, { to: [b] })
      .start();
    expect((await c.get('/x')).body).toBe('b');
    expect(b.server.connections.length).toBe(1);
  });

  test('what is gone lets go of its pool and its rows', async () => {
    const [a, b] = [keep(await named('a')), keep(await named('b'))];
    const g = keep(
      await gateway()
        .routeTo({ upstream: 'a' }, { to: [a] })
        .start(),
    );
    expect((await g.get('/')).body).toBe('a');
    await settle();
    expect(Object.keys(g.counted('requests_total'))).toEqual(['edge/public web/a 200 ok']);
    await g.routeTo({ upstream: 'b' }, { to: [b] }).start();
    await a.server.connections[0]?.untilClosed();
    expect((await g.get('/')).body).toBe('b');
    await settle();
    const rows = g.edge
      .read()
      .filter((r) => r.labels.includes('web/a') && r.metric !== 'panic_total' && r.metric !== 'backend_connections');
    expect(rows.map((r) => r.metric)).toEqual([]);
    expect(Object.keys(g.counted('requests_total'))).toEqual(['edge/public web/b 200 ok']);
  });

  test('metrics detail: listener', async () => {
    const g = keep(
      await gateway({ start: { metricsDetail: 'listener' } })
        .route('/', keep(await named('x')))
        .start(),
    );
    await g.get('/');
    await settle();
    expect(g.counted('requests_total')).toEqual({ 'edge/public  200 ok': 1 });
    expect(g.counted('backend_requests_total')).toEqual({ '  200 ok': 1 });
  });
});

onRealEngines((name, make) => {
  describe(`listeners on ${name}`, () => {
    const at = (port: number) => ({ listener: { port } });

    test('one that is gone drains: requests in flight finish, new connections are refused, the socket is given back', async () => {
      const slow = keep(await backend(() => {}));
      const g = keep(await gateway({ engine: make() }).route('/', slow).start());
      const { port } = g;
      const c = await g.client();
      const id = c.send(head('GET', '/'));
      const r = await slow.began();
      await g.start();
      g.port = port;
      await expect(g.client()).rejects.toThrow();
      r.answer(200, 'last words');
      expect(await c.answer(id)).toMatchObject({ status: 200, body: 'last words' });
      expect(await c.closed()).toMatchObject({ app: true, code: 0x100 });
    });

    test('a renamed listener keeps its socket and its connections', async () => {
      const b = keep(await named('b'));
      const g = keep(await gateway({ engine: make() }).route('/', b).start());
      // A fixed port from now on, as in life.
      const { port } = g;
      await g.close();
      const h = keep(
        await gateway({ engine: make(), ...at(port) })
          .route('/', b)
          .start(),
      );
      const c = await h.client();
      await c.get('/');
      const { bound, problems } = await h.route('/', b).load({ listener: { port, name: 'renamed' } });
      expect(problems).toEqual([]);
      // Under the name that it is asked for by.
      expect(bound).toMatchObject([{ namespace: 'edge', name: 'renamed', addresses: [{ host: '127.0.0.1', port }] }]);
      h.switch();
      expect((await c.get('/')).body).toBe('b');
      await settle();
      expect(h.counted('requests_total')).toMatchObject({ 'edge/renamed web/up1 200 ok': 1 });
    });

    test('addresses come and go, and at those that stay nothing is cut', async () => {
      const slow = keep(await backend((r) => (r.path === '/slow' ? undefined : r.answer(200, 'b'))));
      const first = await gateway({ engine: make() }).route('/', slow).start();
      const { port } = first;
      await first.close();
      const g = keep(gateway({ engine: make() }).route('/', slow));
      const move = async (...addresses: string[]): Promise<void> => {
        await g.route('/', slow).start({ listener: { port, addresses } });
        expect(g.problems).toEqual([]);
      };
      await move('127.0.0.1');
      const c = await g.client();
      const id = c.send(head('GET', '/slow'));
      const r = await slow.began();
      // One more, other ones, all, some of them, and back.
      for (const addresses of [['127.0.0.1', '127.0.0.2'], ['127.0.0.3', '127.0.0.1'], [], ['127.0.0.1'], [], ['127.0.0.2', '127.0.0.1']]) {
        await move(...addresses);
        expect((await c.get('/')).body).toBe('b');
        expect((await g.get('/')).body).toBe('b');
        for (const host of addresses) {
          const there = await g.client(undefined, { host });
          expect((await there.get('/')).body).toBe('b');
          there.close();
        }
      }
      r.answer(200, 'last words');
      expect(await c.answer(id)).toMatchObject({ status: 200, body: 'last words' });
      // At an address that goes, what is under way is finished.
      const earlier = slow.requests.length;
      const second = c.send(head('GET', '/slow'));
      const late = await slow.began(earlier + 1);
      await move('127.0.0.2');
      await expect(g.client()).rejects.toThrow();
      expect((await (await g.client(undefined, { host: '127.0.0.2' })).get('/')).body).toBe('b');
      late.answer(200, 'the very last');
      expect(await c.answer(second)).toMatchObject({ status: 200, body: 'the very last' });
      expect(await c.closed()).toMatchObject({ app: true, code: 0x100 });
    });

    test('a change of addresses that is given up leaves everything where it was', async () => {
      const b = keep(await named('b'));
      const first = await gateway({ engine: make() }).route('/', b).start();
      const { port } = first;
      await first.close();
      const g = keep(gateway({ engine: make() }).route('/', b));
      await g.start({ listener: { port, addresses: ['127.0.0.1'] } });
      const c = await g.client();
      await g.route('/', b).load({ listener: { port, addresses: ['127.0.0.2'] } });
      expect((await c.get('/')).body).toBe('b');
      const loaded = await g.route('/', b).load({ listener: { port, addresses: ['127.0.0.1'] } });
      expect(loaded.bound.map((l) => l.addresses)).toEqual([[{ host: '127.0.0.1', port }]]);
      g.switch();
      expect((await c.get('/')).body).toBe('b');
      expect((await g.get('/')).body).toBe('b');
      // Nobody has the other one now: another program can.
      const other = keep(gateway({ engine: make() }).route('/', b));
      await eventually(async () => {
        await other.load({ listener: { port, addresses: ['127.0.0.2'] } });
        expect(other.problems).toEqual([]);
      });
    });

    test('one that is gone can come back at once', async () => {
      const b = keep(await named('b'));
      const first = await gateway({ engine: make() }).route('/', b).start();
      const { port } = first;
      await first.close();
      const g = keep(
        await gateway({ engine: make(), ...at(port) })
          .route('/', b)
          .start(),
      );
      const c = await g.client();
      await c.get('/');
      await g.start({});
      await g.route('/', b).start();
      expect(g.problems).toEqual([]);
      expect((await g.get('/')).body).toBe('b');
    });

    test('an address that is taken is a problem as data, and the others serve', async () => {
      const b = keep(await named('b'));
      const g = keep(await gateway({ engine: make() }).route('/', b).start());
      const h = keep(gateway({ engine: make(), ...at(g.port) }).route('/', b));
      await h.load();
      expect(h.problems).toMatchObject([{ kind: 'bind', listener: 'edge/public', code: 'EADDRINUSE' }]);
      h.switch();
      expect((await g.get('/')).body).toBe('b');
    });

    test('an address that is free in the end is bound, and what it leads to still has the endpoints that came with the first load', async () => {
      const b = keep(await named('b'));
      const g = await gateway({ engine: make() }).route('/', b).start();
      const h = keep(gateway({ engine: make(), ...at(g.port) }).route('/', b));
      await h.start();
      expect(h.problems).toMatchObject([{ kind: 'bind' }]);
      await settle();
      await g.close();
      await h.again();
      h.switch();
      expect(h.problems).toEqual([]);
      expect((await h.get('/')).body).toBe('b');
    });

    test('a load that is given up closes what it bound', async () => {
      const b = keep(await named('b'));
      const probe = await gateway({ engine: make() }).route('/', b).start();
      const { port } = probe;
      await probe.close();
      const g = keep(gateway({ engine: make(), ...at(port) }).route('/', b));
      await g.load();
      await g.load({});
      g.switch();
      const again = keep(
        await gateway({ engine: make(), ...at(port) })
          .route('/', b)
          .start(),
      );
      expect(again.problems).toEqual([]);
    });

    test('addresses omitted: every address of both families', async () => {
      const g = keep(
        await gateway({ engine: make(), listener: { addresses: [] } })
          .route('/', keep(await named('b')))
          .start(),
      );
      expect(g.problems).toEqual([]);
      expect((await g.get('/')).body).toBe('b');
    });

    test('a missing family is a warning when addresses are omitted, an error when they are written out', async () => {
      const inner = make();
      const fails = (code: string, family: string) =>
        Object.assign(make(), {
          listen: (...[o, h]: Parameters<QuicEngine['listen']>) =>
            o.hosts.some((host) => host.includes(family)) ? Promise.reject(Object.assign(new Error(code), { code })) : inner.listen(o, h),
        });
      const b = keep(await named('b'));
      const g = keep(
        await gateway({ engine: fails('EAFNOSUPPORT', ':'), listener: { addresses: [] } })
          .route('/', b)
          .start(),
      );
      expect(g.problems).toEqual([]);
      expect(g.logged.filter((l) => l.level === 'warn')).toMatchObject([{ fields: { family: 'IPv6', listener: 'edge/public' } }]);
      const written = keep(gateway({ engine: fails('EAFNOSUPPORT', ':'), listener: { addresses: ['::1'] } }).route('/', b));
      expect((await written.load()).problems).toMatchObject([{ kind: 'bind', code: 'EAFNOSUPPORT' }]);
      const taken = keep(gateway({ engine: fails('EADDRINUSE', '.'), listener: { addresses: [] } }).route('/', b));
      expect((await taken.load()).problems).toMatchObject([{ kind: 'bind', code: 'EADDRINUSE' }]);
    });
  });
});

describe('listeners', () => {
  test('limits, retry and TLS of a listener change under its connections', async () => {
    const b = keep(await named('b'));
    const g = keep(await gateway().route('/', b).start());
    const c = await g.client();
    expect((await c.get('/', [['x', 'y'.repeat(2000)]])).status).toBe(200);
    await g.route('/', b).start({ limits: { headerBytes: 1024, connections: 1 } });
    expect((await c.get('/', [['x', 'y'.repeat(2000)]])).status).toBe(431);
    await expect(g.client()).rejects.toThrow();
  });

  test('quic.congestionControl, and a change of it: for connections from then on, or told where the engine cannot', async () => {
    const b = keep(await named('b'));
    const asked: string[] = [];
    const set: string[] = [];
    const make = (able: boolean): MemoryEngine => {
      const engine = new MemoryEngine();
      const listen = engine.listen.bind(engine);
      engine.listen = async (o, h) => {
        asked.push(o.congestion);
        const endpoint = await listen(o, h);
        return Object.assign(endpoint, { setCongestion: able ? (c: string): unknown => set.push(c) : undefined });
      };
      return engine;
    };
    const able = keep(
      await gateway({ engine: make(true), quic: { congestionControl: 'BBR' } })
        .route('/', b)
        .start(),
    );
    await able.route('/', b).start({ quic: { congestionControl: 'Reno' } });
    await able.route('/', b).start({ quic: { congestionControl: 'Reno' } });
    expect([asked, set]).toEqual([['bbr'], ['reno']]);
    const unable = keep(
      await gateway({ engine: make(false) })
        .route('/', b)
        .start(),
    );
    await unable.route('/', b).start({ quic: { congestionControl: 'Reno' } });
    expect(unable.logged.filter((l) => l.level === 'warn' && l.msg.includes('congestionControl')).length).toBe(1);
  });

  test('quic.retry and the remaining limits reach the engine, also when they change', async () => {
    const b = keep(await named('b'));
    const engine = new MemoryEngine();
    const told: unknown[] = [];
    const listen = engine.listen.bind(engine);
    engine.listen = async (o, h) => {
      told.push([o.retry, o.limits.handshakeMs, o.limits.idleMs, o.limits.streamWindow, o.limits.bidi]);
      const endpoint = await listen(o, h);
      return Object.assign(endpoint, {
        setRetry: (m: string) => told.push(m),
        setLimits: (l: typeof o.limits) =>
          told.push([l.handshakeMs, l.idleMs, l.streamWindow, l.bidi, l.perAddress, l.handshakesPerSecond]),
      });
    };
    const quic = { retry: 'Always', handshakeTimeoutMs: 4_000, idleTimeoutMs: 5_000, streamWindow: 65_536, maxStreams: 7 } as const;
    const g = keep(gateway({ engine, quic }).route('/', b));
    await g.load();
    expect(told).toEqual([['always', 4_000, 5_000, 65_536, 7]]);
    g.switch();
    told.length = 0;
    await g.route('/', b).start({
      quic: { ...quic, retry: 'Never', handshakeTimeoutMs: 3_000 },
      limits: { connectionsPerAddress: 9, handshakesPerSecond: 8 },
    });
    expect(told).toEqual([[3_000, 5_000, 65_536, 7, 9, 8], 'off']);
  });

  test('a part that is missing takes its listener out of service, and is told', async () => {
    const g = keep(
      await gateway()
        .route('/', keep(await named('b')))
        .start(),
    );
    const loaded = await g.edge.load(7, ['nobody' as never]);
    expect(loaded.bound).toEqual([]);
    expect(loaded.problems).toMatchObject([{ kind: 'part', message: expect.stringContaining('missing') }]);
  });

  test('a part that does not decode is a problem as data', async () => {
    const g = keep(gateway());
    g.edge.part('broken' as never, Buffer.from('{'));
    expect((await g.edge.load(1, ['broken' as never])).problems).toMatchObject([{ kind: 'part' }]);
  });
});

describe('certificates', () => {
  const tlsOf = async (g: Gateway, sni: string): Promise<number> => (await g.client(sni)).conn.info().tls;

  test('an entry keeps its id while its names and certificates stay; a new one never gets an old id', async () => {
    const b = keep(await named('b'));
    const certificates = [['a.example'], ['b.example']];
    const route = (g: Gateway) => g.routeTo({ host: '*' }, { to: [b] });
    const g = keep(await route(gateway({ certificates })).start());
    const [a1, b1] = [await tlsOf(g, 'a.example'), await tlsOf(g, 'b.example')];
    await route(g).start({ certificates: [['a.example'], ['b.example', 'c.example']] });
    const [a2, b2] = [await tlsOf(g, 'a.example'), await tlsOf(g, 'b.example')];
    expect(a2).toBe(a1);
    expect(b2).toBeGreaterThan(Math.max(a1, b1));
    await route(g).start({ certificates });
    expect(await tlsOf(g, 'b.example')).toBeGreaterThan(b2);
  });

  test('a renewed certificate turns no open connection away', async () => {
    const b = keep(await named('b'));
    const route = (g: Gateway) => g.routeTo({ host: 'b.example' }, { to: [b] });
    const g = keep(await route(gateway({ certificates: [['a.example'], ['b.example']] })).start());
    const c = await g.client('b.example');
    await route(g).start({ certificates: [['a.example'], ['b.example', 'new.example']] });
    expect((await c.get('/', [], 'b.example')).status).toBe(200);
    expect((await c.get('/', [], 'a.example')).status).toBe(421);
  });

  test('one that the engine does not take is told, and keeps no other from being served', async () => {
    const engine = new MemoryEngine();
    const b = keep(await named('b'));
    const unfit = Buffer.from(certificate(['b.example']).cert);
    engine.unfit = (pair) => (unfit.equals(pair.cert) ? 'no such thing' : null);
    const route = (g: Gateway) => g.routeTo({ host: '*' }, { to: [b] });
    const g = keep(await route(gateway({ engine, certificates: [['a.example']] })).start());
    const before = await tlsOf(g, 'a.example');
    const { problems, bound } = await route(g).load({ certificates: [['a.example'], ['b.example']] });
    const message = `${certificate(['b.example']).source}: no such thing`;
    expect(problems).toEqual([{ kind: 'certificate', listener: 'edge/public', code: 'unfit', message }]);
    expect(bound).toHaveLength(1);
    g.switch();
    expect(await tlsOf(g, 'a.example')).toBe(before);
    expect(await (await g.client('a.example')).get('/', [], 'a.example')).toMatchObject({ status: 200, body: 'b' });
    expect(g.logged.filter((l) => l.level === 'error')).toEqual([]);
  });

  test('ticket and token keys move on with time', async () => {
    const clock = new ManualClock(1_000);
    const b = keep(await named('b'));
    const g = keep(
      await gateway({ clock, certificates: [['a.example']] })
        .routeTo({ host: '*' }, { to: [b] })
        .start(),
    );
    const before = await tlsOf(g, 'a.example');
    const old = await g.client('a.example');
    clock.advance(13 * 3_600_000);
    await settle();
    const after = await tlsOf(g, 'a.example');
    expect(after).toBeGreaterThan(before);
    expect(old.conn.info().tls).toBe(before);
  });

  test('keys of the period before do not outlast a load that was begun in it', async () => {
    const clock = new ManualClock(1_000);
    const b = keep(await named('b'));
    const route = (g: Gateway) => g.routeTo({ host: '*' }, { to: [b] });
    const g = keep(await route(gateway({ clock, certificates: [['a.example']] })).start());
    const before = await tlsOf(g, 'a.example');
    await route(g).load();
    clock.advance(13 * 3_600_000);
    g.switch();
    await settle();
    expect(await tlsOf(g, 'a.example')).toBeGreaterThan(before);
  });

  describe('new ticket keys for hundreds of them', () => {
    const NAMES = Array.from({ length: 450 }, (_, i) => `${i}.example`);

    /** The tables that the engine is given, and before which of them the event loop had a turn. */
    const rig = async () => {
      const engine = new MemoryEngine();
      const told: TlsTable[] = [];
      const listen = engine.listen.bind(engine);
      engine.listen = async (o, h) => {
        const endpoint = await listen(o, h);
        const set = endpoint.setTls.bind(endpoint);
        return Object.assign(endpoint, {
          setTls: (t: TlsTable) => {
            told.push(t);
            set(t);
          },
        });
      };
      const clock = new ManualClock(1_000);
      const b = keep(await named('b'));
      const certificates = NAMES.map((name) => [name]);
      const g = keep(
        await gateway({ engine, clock, certificates })
          .routeTo({ host: '*' }, { to: [b] })
          .start(),
      );
      return { g, b, certificates, told, later: () => clock.advance(13 * 3_600_000) };
    };

    const until = async (holds: () => boolean): Promise<void> => {
      for (let i = 0; i < 1_000 && !holds(); i++) await new Promise((done) => setImmediate(done));
      expect(holds()).toBe(true);
    };

    test('reach the engine in steps, between which clients come and are served', async () => {
      const { g, told, later } = await rig();
      const before = await tlsOf(g, '449.example');
      later();
      expect(told).toEqual([]);
      await until(() => told.length === 1);
      // The first hundred are new, the last one is not: both serve.
      for (const name of ['0.example', '449.example']) expect((await (await g.client(name)).get('/', [], name)).status).toBe(200);
      await until(() => told.length === 5);
      expect(await tlsOf(g, '449.example')).toBeGreaterThan(before);
      const c = await g.client('0.example');
      expect((await c.get('/', [], '0.example')).status).toBe(200);
      expect((await c.get('/', [], '449.example')).status).toBe(421);
      await settle();
      expect(told.length).toBe(5);
    });

    test('end where a change brings a table of its own', async () => {
      const { g, b, told, certificates, later } = await rig();
      later();
      await until(() => told.length === 1);
      await g.routeTo({ host: '*' }, { to: [b] }).start({ certificates: [...certificates, ['new.example']] });
      await settle();
      expect(told.at(-1)?.entries.length).toBe(451);
      const tables = told.length;
      await settle();
      expect(told.length).toBe(tables);
      expect(told.filter((t) => t.entries.length === 451).length).toBe(1);
      for (const name of ['0.example', 'new.example']) expect((await (await g.client(name)).get('/', [], name)).status).toBe(200);
    });
  });
});
