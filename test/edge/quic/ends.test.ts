/** Ends of streams on networks that lose packets: what a packet sent again holds may have come before, but for the end. */
import { afterEach, describe, expect, test } from '@jest/globals';
import type { QuicConn, QuicEndpoint } from '../../../src/edge/quic/engine.ts';
import { Forger } from './forger.ts';
import { listenOptions, Recorder, send, text } from './kit.ts';
import { onRealEngines } from './native/built.ts';
import { Wire } from './wire.ts';

const FIN = 1;
const CANCELLED = 0x10c;

/** A STREAM frame with offset and length (RFC 9000 s19.8). */
const stream = (id: number, offset: number, data: string, flags = 0): Buffer =>
  Buffer.concat([Buffer.from([0x0e | flags, id, offset, data.length]), Buffer.from(data)]);

/** RFC 9000 s19.4. */
const reset = (id: number, size: number): Buffer => Buffer.from([4, id, 0x40 | (CANCELLED >> 8), CANCELLED & 255, size]);

onRealEngines((name, make) => {
  describe(`ends of streams at ${name}`, () => {
    const errors: unknown[] = [];
    let ep: QuicEndpoint | null = null;
    let wire: Wire | null = null;

    async function begin(server: Recorder): Promise<Forger> {
      ep = await make((where, e) => errors.push([where, e])).listen(listenOptions(), server);
      wire = await Wire.open();
      return Forger.connect(wire, ep.addresses[0]?.port as number);
    }

    afterEach(async () => {
      await ep?.close();
      await wire?.close();
      expect(errors.splice(0)).toEqual([]);
    });

    // quiche 0.18 does not tell which of the two it was.
    const knows = name === 'native';

    test('an end that comes only with bytes that are there already is told', async () => {
      const server = new Recorder();
      const f = await begin(server);
      await f.send(stream(4, 0, 'all of it'));
      await server.until(() => server.conns.length > 0 && server.seen(server.conns[0] as QuicConn, 4).bytes === 9);
      const c = server.conns[0] as QuicConn;
      await f.send(stream(4, 4, 'of it', FIN));
      await server.until(() => server.seen(c, 4).fin || server.seen(c, 4).resets.length > 0);
      expect(server.seen(c, 4)).toMatchObject({ bytes: 9, fin: knows, resets: knows ? [] : [0] });
      // Once, and the stream is a stream like any other.
      server.forget(c, 4);
      await f.send(stream(4, 4, 'of it', FIN));
      send(c, 4, text('answer'), true);
      await f.wire.until(() => f.received().some((frames) => frames.includes('answer')));
      await f.send(stream(8, 0, 'next', FIN));
      await server.until(() => server.seen(c, 8).fin);
      expect(server.seen(c, 4)).toMatchObject({ fin: false, resets: [] });
    });

    test('an end that comes before other bytes waits for them', async () => {
      const server = new Recorder();
      const f = await begin(server);
      await f.send(Buffer.concat([stream(4, 0, 'all'), stream(4, 6, ' it', FIN), stream(8, 0, 'x', FIN)]));
      await server.until(() => server.conns.length > 0 && server.seen(server.conns[0] as QuicConn, 8).fin);
      const c = server.conns[0] as QuicConn;
      expect(server.seen(c, 4)).toMatchObject({ bytes: 3, fin: false, resets: [] });
      await f.send(stream(4, 0, 'all of it', FIN));
      await server.until(() => server.seen(c, 4).fin);
      expect(server.seen(c, 4).data().toString()).toBe('all of it');
    });

    test('a reset behind an end that came before other bytes is told', async () => {
      const server = new Recorder();
      const f = await begin(server);
      await f.send(Buffer.concat([stream(4, 0, 'all'), stream(4, 6, ' it', FIN)]));
      await server.until(() => server.conns.length > 0 && server.seen(server.conns[0] as QuicConn, 4).bytes === 3);
      const c = server.conns[0] as QuicConn;
      await f.send(reset(4, 9));
      await server.until(() => server.seen(c, 4).fin || server.seen(c, 4).resets.length > 0);
      expect(server.seen(c, 4)).toMatchObject({ bytes: 3, fin: false, resets: [knows ? CANCELLED : 0] });
    });

    test('a reset behind an end that was told means nothing', async () => {
      const server = new Recorder();
      const f = await begin(server);
      await f.send(stream(4, 0, 'all of it', FIN));
      await server.until(() => server.conns.length > 0 && server.seen(server.conns[0] as QuicConn, 4).fin);
      const c = server.conns[0] as QuicConn;
      await f.send(Buffer.concat([reset(4, 9), stream(8, 0, 'x', FIN)]));
      await server.until(() => server.seen(c, 8).fin);
      expect(server.seen(c, 4).resets).toEqual([]);
    });

    if (knows) {
      test('a reset that comes with the whole stream is told', async () => {
        const server = new Recorder();
        const f = await begin(server);
        await f.send(Buffer.concat([stream(4, 0, 'all of it', FIN), reset(4, 9)]));
        await server.until(() => server.conns.length > 0 && server.seen(server.conns[0] as QuicConn, 4).resets.length > 0);
        expect(server.seen(server.conns[0] as QuicConn, 4)).toMatchObject({ bytes: 0, fin: false, resets: [CANCELLED] });
      });
    }
  });
});
