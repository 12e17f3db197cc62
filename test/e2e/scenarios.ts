/** What every client does through Spooky; a client leaves out only what it cannot do at all. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Client, Session } from '../kit/clients.ts';
import { ENGINE } from '../kit/engine.ts';
import { field, PeerError, type Answer, type Dial, type RequestSpec } from '../kit/peers.ts';
import { eventually } from '../kit/process.ts';
import { fingerprint, HOSTS, startWorld, type World } from './world.ts';

const MIB = 1 << 20;
/** SHA-256 of the first bytes of the body that all clients and the Go backend make. */
const HASH_OF = new Map([
  [0, 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  [MIB, 'ac48d7daf1de5564f26752d45fc5bc81360d197cf7fa6e00dd2d4cd9933c4552'],
  [100 * MIB, 'f429ac538e445c986a868f0305fce16106cc39f5f67ae4df8e32b152c9e6cbe2'],
]);
/** What may be under way when a reader stalls: windows of the client, of both our sides, and of the backend. */
const WINDOWS = 24 * MIB;

interface OwnAnswer {
  readonly status: number;
  readonly name: string;
  readonly error: string | null;
  readonly host: string;
  readonly listener?: 'open' | 'strict';
  readonly request: Omit<RequestSpec, 'authority'>;
}

const OWN_ANSWERS: readonly OwnAnswer[] = [
  { status: 400, name: 'an escaped slash', error: 'http_request_error', host: HOSTS.go, request: { path: '/bytes%2f1' } },
  { status: 404, name: 'no route', error: 'destination_not_found', host: HOSTS.paths, request: { path: '/elsewhere' } },
  {
    status: 413,
    // Large, because Chromium waits for ever when STOP_SENDING meets an upload of a few packets (with quic-go's server, too).
    name: 'a body over the limit',
    error: 'http_request_error',
    host: HOSTS.go,
    listener: 'strict',
    request: { path: '/digest', method: 'POST', body: 2_000_000 },
  },
  {
    status: 431,
    name: 'a head over the limit',
    error: 'http_request_error',
    host: HOSTS.go,
    listener: 'strict',
    request: { path: '/whoami', headers: [['x-big', 'v'.repeat(6000)]] },
  },
  { status: 500, name: 'an unresolved reference', error: 'proxy_configuration_error', host: HOSTS.unresolved, request: { path: '/' } },
  { status: 502, name: 'a refused connection', error: 'connection_refused', host: HOSTS.refused, request: { path: '/' } },
  { status: 503, name: 'no endpoint', error: 'destination_unavailable', host: HOSTS.empty, request: { path: '/' } },
  { status: 504, name: 'a late response', error: 'http_response_timeout', host: HOSTS.hurried, request: { path: '/slow?ms=5000' } },
];

/** The first answer of so many tries; a try that only times out is the client's. */
async function answered(ask: () => Promise<Answer>, tries: number): Promise<Answer> {
  for (let left = tries; left > 1; left--) {
    try {
      return await ask();
    } catch (e) {
      if (!(e instanceof PeerError) || e.failure.kind !== 'timeout') throw e;
    }
  }
  return ask();
}

/**
 * A whole answer that has trailers, from a client that keeps them to itself. Chromium now and then (one of 80 here) ends a body by
 * ERR_CONNECTION_CLOSED when trailers come, and may lose what its script has not read by then, whoever the server is: quic-go's gets the same.
 */
export async function bodyBeforeTrailers(session: Session, request: RequestSpec): Promise<Answer> {
  for (let left = 9; left > 0; left--) {
    const answer = await session.attempt(request);
    if (answer.error === undefined) return answer;
    expect(answer).toMatchObject({ status: 200, error: { text: 'TypeError: network error' } });
  }
  return session.request(request);
}

export interface Subject {
  readonly client: Client;
  readonly world: World;
}

export function scenarios(name: string, make: (world: World) => Client): () => Subject {
  let world: World;
  let client: Client;
  let dial: Dial;

  beforeAll(async () => {
    world = await startWorld();
    client = make(world);
    dial = world.dial(HOSTS.go);
  }, 90_000);
  afterAll(() => (client as Client | undefined)?.stop(), 30_000);

  const once = async <T>(to: Dial, use: (session: Session) => Promise<T>): Promise<T> => {
    const session = await client.open(to);
    try {
      return await use(session);
    } finally {
      await session.close();
    }
  };
  const go = (request: Omit<RequestSpec, 'authority'>): Promise<Answer> =>
    once(dial, (s) => s.request({ authority: HOSTS.go, ...request }));
  const is = (ability: Parameters<Client['can']['has']>[0]): boolean => client.can.has(ability);

  describe(`${name}, ${ENGINE.name}: requests`, () => {
    test('GET', async () => {
      const answer = await go({ path: `/bytes/${MIB}` });
      expect(answer).toMatchObject({ status: 200, size: MIB, sha256: HASH_OF.get(MIB) });
      expect(field(answer, 'content-length')).toBe(String(MIB));
    });

    test('HEAD', async () => {
      const answer = await go({ path: `/bytes/${MIB}`, method: 'HEAD' });
      expect(answer).toMatchObject({ status: 200, size: 0 });
      expect(field(answer, 'content-length')).toBe(String(MIB));
    });

    test('statuses without a body', async () => {
      expect(await go({ path: '/status/204' })).toMatchObject({ status: 204, size: 0 });
      expect(await go({ path: '/status/404' })).toMatchObject({ status: 404, size: 0 });
      expect(await go({ path: '/status/503' })).toMatchObject({ status: 503, size: 0 });
    });

    test('POST without a byte, echoed', async () => {
      expect(await go({ path: '/echo', method: 'POST', body: 0 })).toMatchObject({ status: 200, size: 0, sha256: HASH_OF.get(0) });
    });

    test('POST of 1 MiB, echoed', async () => {
      const answer = await go({ path: '/echo', method: 'POST', body: MIB });
      expect(answer).toMatchObject({ status: 200, size: MIB, sha256: HASH_OF.get(MIB), sent: HASH_OF.get(MIB) });
    });

    test('POST of 100 MiB, echoed or digested', async () => {
      const upload: Omit<RequestSpec, 'authority'> = { path: '/echo', method: 'POST', body: 100 * MIB, timeoutMs: 170_000 };
      if (is('duplex')) {
        expect(await go(upload)).toMatchObject({
          status: 200,
          size: 100 * MIB,
          sha256: HASH_OF.get(100 * MIB),
          sent: HASH_OF.get(100 * MIB),
        });
        return;
      }
      // A client that reads no answer before all is sent would wait for itself at an echo: the digest comes back, and as much is downloaded.
      const up = await go({ ...upload, path: '/digest' });
      expect(up).toMatchObject({ status: 200, size: 64, sent: HASH_OF.get(100 * MIB) });
      expect(up.sha256).toBe('ac31b2d5f0367eae80c4fd7197f27edfa705ae5c8e675dca54876883e7b9096c'); // of the digest in hex
      expect(await go({ path: `/bytes/${100 * MIB}`, timeoutMs: 170_000 })).toMatchObject({ status: 200, sha256: HASH_OF.get(100 * MIB) });
    }, 360_000);

    test('100 at once on one connection', async () => {
      const requests = Array.from({ length: 100 }, (_, i) => ({ authority: HOSTS.go, path: `/bytes/${20_000 + i}`, timeoutMs: 30_000 }));
      const answers = await client.parallel(dial, requests);
      expect(answers.map((a) => a.error)).toEqual(Array.from({ length: 100 }, () => undefined));
      expect(answers.map((a) => a.status)).toEqual(Array.from({ length: 100 }, () => 200));
      expect(answers.map((a) => a.size)).toEqual(requests.map((_, i) => 20_000 + i));
    }, 60_000);

    test('trailers of the answer', async () => {
      const body = { status: 200, size: 'body before trailers\n'.length };
      if (!is('trailers')) {
        expect(await once(dial, (s) => bodyBeforeTrailers(s, { authority: HOSTS.go, path: '/trailers' }))).toMatchObject(body);
        return;
      }
      const answer = await go({ path: '/trailers', headers: [['te', 'trailers']] });
      expect(answer).toMatchObject(body);
      expect(Object.fromEntries(answer.trailers)).toEqual({ 'x-checksum': 'abc123', 'x-late': 'yes' });
    });

    test('trailers of the request', async () => {
      if (!is('requestTrailers')) return;
      const answer = await go({ path: '/echo', method: 'POST', body: 1000, declare: false, trailers: [['x-from-client', 'seen']] });
      expect(answer).toMatchObject({ status: 200, size: 1000 });
      expect(Object.fromEntries(answer.trailers)).toEqual({ 'x-from-client': 'seen' });
    });

    test('early hints come before the answer', async () => {
      const answer = await go({ path: '/hints' });
      expect(answer).toMatchObject({ status: 200, size: 'after the hints\n'.length });
      if (is('interim')) expect(answer.interim).toEqual([103]);
    });

    test('what the backend sees: one authority, our own forwarding fields, no forged ones', async () => {
      const answer = await go({
        path: '/whoami?q=1',
        headers: [
          ['x-forwarded-for', '203.0.113.9'],
          ['x-mine', 'kept'],
        ],
      });
      const seen = JSON.parse(answer.text) as { proto: string; host: string; uri: string; headers: Record<string, string[]> };
      expect(seen).toMatchObject({ proto: 'HTTP/2.0', uri: '/whoami?q=1' });
      expect([HOSTS.go, `${HOSTS.go}:${world.ports.open}`]).toContain(seen.host);
      expect(seen.headers).toMatchObject({ 'X-Mine': ['kept'], 'X-Forwarded-For': ['127.0.0.1'], 'X-Forwarded-Proto': ['https'] });
      expect(seen.headers['X-Request-Id']?.[0]).toMatch(/^[\w-]{8,}$/);
      expect(seen.headers['Via']?.[0]).toMatch(/^3(\.0)? spooky-[0-9a-f]{8}$/);
    });
  });

  describe(`${name}, ${ENGINE.name}: interruptions`, () => {
    test('a slow reader slows the backend, and gets every byte', async () => {
      if (!is('slowReader')) return;
      const answer = await go({ path: `/bytes/${6 * MIB}`, readChunk: 32_768, readPauseMs: 20, timeoutMs: 60_000 });
      expect(answer).toMatchObject({ status: 200, size: 6 * MIB });
      expect(answer.ms).toBeGreaterThan(300);
    }, 90_000);

    test('a reader that stalls bounds what the backend can write', async () => {
      if (!is('slowReader')) return;
      const before = (await world.backend.stats()).endless;
      const answer = await once(dial, (s) =>
        s.attempt({ authority: HOSTS.go, path: '/endless', readChunk: 16_384, readPauseMs: 100, cancelMs: 3000, timeoutMs: 3000 }),
      );
      expect(answer.error?.remote ?? false).toBe(false);
      const written = (await world.backend.stats()).endless - before;
      expect(answer.size).toBeGreaterThan(0);
      expect(written).toBeGreaterThanOrEqual(answer.size);
      expect(written - answer.size).toBeLessThan(WINDOWS + (client.readsAhead ?? 0));
    }, 30_000);

    test('cancelled midway: the backend is told', async () => {
      const before = await world.backend.stats();
      const answer = await once(dial, (s) => s.attempt({ authority: HOSTS.go, path: '/endless', cancelAfter: MIB, timeoutMs: 30_000 }));
      expect(answer).toMatchObject({ status: 200, cancelled: true });
      await eventually(async () => {
        const after = await world.backend.stats();
        expect(after.active).toBe(0);
        expect(after.cancelled).toBeGreaterThan(before.cancelled);
      });
    }, 45_000);

    test('cancelled before the answer: the backend is told', async () => {
      const before = await world.backend.stats();
      const answer = await once(dial, (s) => s.attempt({ authority: HOSTS.go, path: '/slow?ms=20000', cancelMs: 300 }));
      expect(answer.error?.kind).toMatch(/^(cancelled|timeout)$/);
      await eventually(async () => {
        const after = await world.backend.stats();
        expect(after.active).toBe(0);
        expect(after.cancelled).toBeGreaterThan(before.cancelled);
      });
    });

    test('an answer that breaks off is not taken for complete', async () => {
      const answer = await once(dial, (s) => s.attempt({ authority: HOSTS.go, path: '/abort' }));
      expect(answer.error).toBeDefined();
    });

    test('another request on the same connection after all that', async () => {
      if (!is('sessions')) return;
      await once(dial, async (s) => {
        await s.attempt({ authority: HOSTS.go, path: '/endless', cancelAfter: 100_000 });
        await s.attempt({ authority: HOSTS.go, path: '/abort' });
        expect(await s.request({ authority: HOSTS.go, path: '/bytes/1000' })).toMatchObject({ status: 200, size: 1000 });
      });
    });
  });

  describe(`${name}, ${ENGINE.name}: certificates by name`, () => {
    test('three names, three certificates', async () => {
      for (const [host, leaf] of [
        [HOSTS.go, world.leaves.a],
        [HOSTS.other, world.leaves.b],
        [HOSTS.wild, world.leaves.wild],
      ] as const) {
        await once(world.dial(host), async (s) => {
          expect(s.certificate).toBe(fingerprint(leaf));
          expect(await s.request({ authority: host, path: '/bytes/10' })).toMatchObject({ status: 200, size: 10 });
        });
      }
    });

    test('421 for a name of another certificate', async () => {
      if (!is('authority')) return;
      const answer = await once(world.dial(HOSTS.other), (s) => s.request({ authority: HOSTS.go, path: '/bytes/10' }));
      expect(answer.status).toBe(421);
    });
  });

  describe(`${name}, ${ENGINE.name}: answers of our own`, () => {
    test.each(OWN_ANSWERS)(
      '$status: $name',
      async ({ status, error, host, listener, request }) => {
        const ask = (timeoutMs: number): Promise<Answer> =>
          once(world.dial(host, listener ?? 'open'), (s) => s.request({ authority: host, timeoutMs, ...request }));
        const tries = request.body === undefined ? 1 : (client.earlyAnswerTries ?? 1);
        const code = String(status);
        const before = await world.spooky.metric('spooky_requests_total', { code });
        let asked = 0;
        const answer = await answered(() => (asked++, ask(Math.max(4000, 20_000 / tries))), tries);
        // Whatever became of it in the client: each was answered.
        await world.spooky.metricAbove('spooky_requests_total', { code }, before + asked - 1);
        expect(answer.status).toBe(status);
        expect(field(answer, 'proxy-status')).toContain(`error=${error}`);
        expect(field(answer, 'proxy-status')).not.toContain('127.0.0.1');
        expect(answer.size).toBeLessThan(200);
      },
      70_000,
    );
  });

  return () => ({ client, world });
}
