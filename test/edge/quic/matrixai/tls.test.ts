import { randomBytes } from 'node:crypto';
import { describe, expect, jest, test } from '@jest/globals';
import type { TlsEntry } from '../../../../src/edge/quic/engine.ts';
import { quiche } from '../../../../src/edge/quic/matrixai/binding.ts';
import { MatrixaiEngine } from '../../../../src/edge/quic/matrixai/engine.ts';
import { parseClientHello } from '../../../../src/edge/quic/matrixai/hello.ts';
import { TlsContext, TlsContexts } from '../../../../src/edge/quic/matrixai/tls.ts';
import { makeCa, makeLeaf } from '../../../kit/certs.ts';
import { connectOptions, entry, LIMITS, listenOptions, Recorder, table } from '../kit.ts';
import { clientHello } from '../wire.ts';

const transport = { limits: LIMITS, congestion: 'cubic' } as const;
const hello = (() => {
  const r = parseClientHello(clientHello());
  if (r.kind !== 'ok') throw new Error('no hello');
  return r.value;
})();

test('the largest limits still fit into the transport parameters, after a Retry, too', () => {
  const limits = { ...LIMITS, bidi: 65_535, uni: 63, idleMs: 3_600_000, streamWindow: 64 * 1024 * 1024, datagrams: true };
  const config = new TlsContext(entry(['x.example']), { limits, congestion: 'bbr' }).choose(hello);
  config.setStatelessResetToken(2n ** 127n);
  const a = { host: '127.0.0.1', port: 1 };
  expect(() => quiche.Connection.accept(randomBytes(17), randomBytes(20), a, a, config)).not.toThrow();
});

test('limits beyond that are refused by name', async () => {
  const engine = new MatrixaiEngine();
  await expect(engine.listen(listenOptions({ limits: { uni: 64 } }), new Recorder())).rejects.toThrow('limits.uni');
  await expect(engine.listen(listenOptions({ limits: { bidi: 65_536 } }), new Recorder())).rejects.toThrow('limits.bidi');
  await expect(engine.listen(listenOptions({ limits: { halfOpen: -1 } }), new Recorder())).rejects.toThrow('limits.halfOpen');
  await expect(engine.listen(listenOptions({ tokenKeys: [] }), new Recorder())).rejects.toThrow('tokenKeys');
  await expect(engine.listen(listenOptions({ resetKey: Buffer.alloc(4) }), new Recorder())).rejects.toThrow('resetKey');
  await expect(engine.listen(listenOptions({ hosts: ['nowhere'] }), new Recorder())).rejects.toThrow('nowhere');
});

describe('nothing unchecked reaches the binding, where it would end the process', () => {
  const good = makeLeaf(makeCa('ca'), { names: ['a.example'] });
  const other = makeLeaf(makeCa('ca'), { names: ['b.example'] });
  const cases: readonly (readonly [string, Partial<TlsEntry>])[] = [
    ['no certificate at all', { certs: [] }],
    ['a key of another certificate', { certs: [{ cert: good.cert, key: other.key }] }],
    ['garbage for a certificate', { certs: [{ cert: Buffer.from('garbage'), key: good.key }] }],
    ['garbage for a key', { certs: [{ cert: good.cert, key: Buffer.from('garbage') }] }],
    ['empty PEM', { certs: [{ cert: Buffer.alloc(0), key: Buffer.alloc(0) }] }],
    ['a second pair that is broken', { certs: [good, { cert: good.cert, key: other.key }] }],
    ['client certificates required without a CA', { clientAuth: 'require' }],
    ['client certificates asked for without a CA', { clientAuth: 'request' }],
    ['garbage for a CA', { clientAuth: 'require', ca: Buffer.from('garbage') }],
    ['an empty CA', { clientAuth: 'require', ca: Buffer.alloc(0) }],
    ['a ticket key of the wrong length', { ticketKeys: [Buffer.alloc(16)] }],
    ['an empty ALPN protocol', { alpn: [''] }],
    ['an ALPN protocol that is too long', { alpn: ['x'.repeat(256)] }],
  ];
  for (const [what, change] of cases) {
    test(what, () => {
      const e = { ...entry(['a.example']), ...change };
      expect(() => new TlsContext(e, transport)).toThrow(`TLS entry ${e.id}`);
    });
  }
});

test('an entry keeps its context from table to table; only changed ones are built', () => {
  const a = entry(['a.example']);
  const b = entry(['b.example']);
  const one = new TlsContexts(table([a]), transport, null);
  const two = new TlsContexts(table([a, b]), transport, one);
  expect(two.get(a.id)).toBe(one.get(a.id));
  expect(two.get(b.id).choose(hello)).toBe(two.get(b.id).choose(hello));
  const before = two.get(a.id).choose(hello);
  two.setTransport({ ...transport, congestion: 'reno' });
  expect(two.get(a.id).choose(hello)).not.toBe(before);
});

test('another congestion control holds for connections from then on', async () => {
  const named = jest.spyOn(quiche.Config.prototype, 'setCcAlgorithmName');
  const engine = new MatrixaiEngine();
  const ep = await engine.listen(listenOptions({ congestion: 'bbr' }), new Recorder());
  const client = new Recorder();
  try {
    expect(named.mock.calls).toEqual([['bbr']]);
    ep.setCongestion?.('reno');
    expect(() => ep.setCongestion?.('vegas' as 'reno')).toThrow('congestion');
    named.mockClear();
    const c = await engine.connect(connectOptions((ep.addresses[0] as { port: number }).port), client);
    expect(named.mock.calls).toContainEqual(['reno']);
    expect(named.mock.calls).not.toContainEqual(['bbr']);
    c.close(true, 0x100, '');
    await client.until(() => client.closes.length === 1);
  } finally {
    named.mockRestore();
    await ep.close();
  }
});
