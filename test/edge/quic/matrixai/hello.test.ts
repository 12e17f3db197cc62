import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { CryptoStream, MAX_HELLO, parseClientHello, takeCrypto, type Hello } from '../../../../src/edge/quic/matrixai/hello.ts';
import { clientHello, cryptoFrame } from '../wire.ts';

const hello = clientHello({ sni: 'Some.Example', alpn: ['h3', 'hq-interop'] });

const good = (buf: Buffer): Hello => {
  const r = parseClientHello(buf);
  expect(r.kind).toBe('ok');
  return (r as { value: Hello }).value;
};

/** A ClientHello of nothing but these extensions. */
function make(extensions: readonly (readonly [number, string])[]): Buffer {
  const ext = Buffer.concat(
    extensions.map(([type, body]) => {
      const b = Buffer.from(body, 'hex');
      const head = Buffer.alloc(4);
      head.writeUInt16BE(type, 0);
      head.writeUInt16BE(b.length, 2);
      return Buffer.concat([head, b]);
    }),
  );
  const length = Buffer.alloc(2);
  length.writeUInt16BE(ext.length);
  const body = Buffer.concat([Buffer.from('0303', 'hex'), Buffer.alloc(32), Buffer.from('00000213010100', 'hex'), length, ext]);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(0x01000000 | body.length);
  return Buffer.concat([head, body]);
}

const name = (host: string): string => {
  const b = Buffer.from(host, 'latin1');
  const n = (v: number): string => v.toString(16).padStart(4, '0');
  return `${n(b.length + 3)}00${n(b.length)}${b.toString('hex')}`;
};

describe('ClientHello', () => {
  test('a real one', () => {
    const h = good(hello);
    expect(h.sni).toBe('Some.Example');
    expect(h.alpn).toEqual(['h3', 'hq-interop']);
    expect(h.signatures).toContain(0x0403);
    expect(h.pskName).toBeNull();
    expect(good(clientHello({ sni: null })).sni).toBeNull();
  });

  test('every prefix asks for more; what follows is left alone', () => {
    for (let n = 0; n < hello.length; n++) expect(parseClientHello(hello.subarray(0, n)).kind).toBe('more');
    expect(good(Buffer.concat([hello, Buffer.from([1, 2, 3])])).sni).toBe('Some.Example');
  });

  test('hand-made ones: names, ticket names', () => {
    expect(good(make([[0, name('a.example')]]))).toEqual({ sni: 'a.example', alpn: [], signatures: [], pskName: null });
    const ticket = Buffer.alloc(20, 0xab).toString('hex');
    expect(good(make([[41, `001a0014${ticket}0000000000`]])).pskName).toEqual(Buffer.alloc(16, 0xab));
    expect(good(make([[41, '000c0006aabbccddeeff000000000000']])).pskName).toBeNull();
  });

  test('two of one extension, two names, empty names, wrong lengths are malformed', () => {
    const bad = [
      make([
        [0, name('a')],
        [0, name('b')],
      ]),
      make([
        [16, '0003026833'],
        [16, '0003026833'],
      ]),
      make([[0, '00080000016100000162']]),
      make([[0, '00050000026161ff']]),
      make([[0, '0003000000']]),
      make([[0, '0000']]),
      make([[0, '']]),
      make([[0, '000401000161']]),
      make([[16, '000100']]),
      make([[16, '0004026833']]),
      make([[13, '0003040304']]),
      make([[13, '000204']]),
      make([[41, '0010']]),
    ];
    for (const b of bad) expect([b.toString('hex'), parseClientHello(b).kind]).toEqual([b.toString('hex'), 'bad']);
    expect(parseClientHello(Buffer.from([2])).kind).toBe('bad');
    expect(parseClientHello(Buffer.from([1, 0xff, 0xff, 0xff])).kind).toBe('bad');
  });

  test('changed anywhere, or random: an answer, never an exception', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(hello.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }), (changes) => {
        const b = Buffer.from(hello);
        for (const [at, value] of changes) b[at] = value;
        expect(['ok', 'more', 'bad']).toContain(parseClientHello(b).kind);
      }),
      { numRuns: 3000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (b) =>
        ['ok', 'more', 'bad'].includes(parseClientHello(Buffer.from([1, 0, 0, ...b])).kind),
      ),
      { numRuns: 2000 },
    );
  });
});

describe('CRYPTO frames', () => {
  test('any order and any cut give the same hello', () => {
    const cuts = fc.array(fc.integer({ min: 1, max: hello.length - 1 }), { maxLength: 12 });
    fc.assert(
      fc.property(cuts, fc.infiniteStream(fc.nat()), (points, order) => {
        const at = [...new Set([0, ...points, hello.length])].sort((a, b) => a - b);
        const frames = at.slice(0, -1).map((from, i) => cryptoFrame(from, hello.subarray(from, at[i + 1])));
        const shuffled = frames.map((f) => [order.next().value as number, f] as const).sort((a, b) => a[0] - b[0]);
        const stream = new CryptoStream();
        for (const [, f] of shuffled) expect(takeCrypto(Buffer.concat([Buffer.alloc(3), f, Buffer.from([1])]), stream)).toBe(true);
        expect(stream.contiguous().equals(hello)).toBe(true);
      }),
    );
  });

  test('overlapping pieces, acknowledgements and padding pass', () => {
    const stream = new CryptoStream();
    const payload = Buffer.concat([
      Buffer.from('0200000000', 'hex'),
      Buffer.from('03000001000000000102', 'hex').subarray(0, 0),
      cryptoFrame(0, hello.subarray(0, 100)),
      cryptoFrame(50, hello.subarray(50)),
      Buffer.alloc(9),
    ]);
    expect(takeCrypto(payload, stream)).toBe(true);
    expect(good(Buffer.from(stream.contiguous())).sni).toBe('Some.Example');
  });

  test('Q3: offsets beyond a hello, hundreds of holes and foreign frames are refused', () => {
    expect(takeCrypto(cryptoFrame(MAX_HELLO, Buffer.from([1])), new CryptoStream())).toBe(false);
    expect(takeCrypto(cryptoFrame(2 ** 40, Buffer.from([1])), new CryptoStream())).toBe(false);
    const holes = new CryptoStream();
    let ok = true;
    for (let i = 0; i < 200 && ok; i++) ok = takeCrypto(cryptoFrame(i * 2, Buffer.from([1])), holes);
    expect(ok).toBe(false);
    for (const type of [0x04, 0x05, 0x07, 0x08, 0x10, 0x18, 0x1a, 0x1c, 0x1d, 0x1e, 0x30, 0xff])
      expect(takeCrypto(Buffer.from([type, 0, 0, 0]), new CryptoStream())).toBe(false);
  });

  test('every prefix and random payloads: an answer, never an exception', () => {
    const payload = Buffer.concat([Buffer.from('0200000000', 'hex'), cryptoFrame(0, hello)]);
    for (let n = 0; n < payload.length; n++) expect(typeof takeCrypto(payload.subarray(0, n), new CryptoStream())).toBe('boolean');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (b) => typeof takeCrypto(b, new CryptoStream()) === 'boolean'),
      { numRuns: 3000 },
    );
    expect(takeCrypto(Buffer.from('02ffffffffffffffff00ffffffffffffffff00', 'hex'), new CryptoStream())).toBe(false);
  });
});
