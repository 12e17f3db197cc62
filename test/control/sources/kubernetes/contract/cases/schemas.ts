/** What a definition's schema drops, fills in and refuses. */
import { MERGE, type Case, type Scene } from '../scene.ts';
import type { Answer, Json } from '../wire.ts';

const spec = (s: Scene, value: Json, query = ''): Promise<Answer> => s.post('widgets', 'w', { spec: value }, query);
const refused = (name: string, value: Json, gives: unknown): Case => ({
  name,
  run: async (s) => {
    const answer = await spec(s, value);
    // In the order of the alphabet: the server walks through maps.
    const causes = (answer.body.details?.causes ?? []) as Json[];
    return [s.brief(answer), causes.map((c) => `${String(c.reason)} ${String(c.field)}`).toSorted()];
  },
  gives,
});
const kept = (name: string, value: Json, gives: unknown): Case => ({ name, run: async (s) => (await spec(s, value)).body.spec, gives });

export const SCHEMAS: readonly Case[] = [
  kept('a default', {}, { color: 'red' }),
  kept('a default below what is there', { deep: {} }, { color: 'red', deep: { value: 'filled' } }),
  kept('a default of an item', { parts: [{ name: 'a' }] }, { color: 'red', parts: [{ name: 'a', weight: 1 }] }),
  kept(
    'null where there is a default, where there may be one, where there may not',
    { color: null, note: null, word: null },
    { color: 'red', note: null },
  ),
  kept(
    'fields that nobody knows are dropped',
    {
      size: 1,
      unknown: 2,
      deep: { other: 1 },
      free: { any: { thing: 1 } },
      labels: { x: 'y' },
    },
    { color: 'red', deep: { value: 'filled' }, free: { any: { thing: 1 } }, labels: { x: 'y' }, size: 1 },
  ),
  {
    name: 'fields that nobody knows, strictly',
    run: async (s) => s.full(await spec(s, { size: 1, unknown: 2, deep: { other: 1 } }, '?fieldValidation=Strict')),
    gives:
      '400 BadRequest: Widget in version "v1" cannot be handled as a Widget: strict decoding error: unknown field "spec.deep.other", unknown field "spec.unknown"',
  },
  kept('a number or a text', { port: 80 }, { color: 'red', port: 80 }),
  kept('a text or a number', { port: 'http' }, { color: 'red', port: 'http' }),
  refused('neither', { port: true }, ['422 Invalid', ['FieldValueTypeInvalid spec.port']]),
  refused('a text for a number', { size: '1' }, ['422 Invalid', ['FieldValueTypeInvalid spec.size']]),
  refused('a fraction for an integer', { size: 1.5 }, ['422 Invalid', ['FieldValueInvalid <nil>', 'FieldValueTypeInvalid spec.size']]),
  refused('too small', { size: -1 }, ['422 Invalid', ['FieldValueInvalid spec.size']]),
  refused('too large', { size: 101 }, ['422 Invalid', ['FieldValueInvalid spec.size']]),
  refused('not in the list', { color: 'pink' }, ['422 Invalid', ['FieldValueNotSupported spec.color']]),
  refused('not the pattern', { word: 'ABC' }, ['422 Invalid', ['FieldValueInvalid spec.word']]),
  refused('too long and too short', { word: 'abcdefghi' }, ['422 Invalid', ['FieldValueTooLong spec.word']]),
  refused('too many items', { tags: ['a', 'b', 'c', 'd'] }, ['422 Invalid', ['FieldValueTooMany spec.tags']]),
  refused('twice in a set', { tags: ['a', 'a'] }, ['422 Invalid', ['FieldValueDuplicate spec.tags[1]']]),
  refused('twice in a map', { parts: [{ name: 'a' }, { name: 'a' }] }, ['422 Invalid', ['FieldValueDuplicate spec.parts[1]']]),
  refused('an item without its key', { parts: [{ weight: 1 }] }, ['422 Invalid', ['FieldValueRequired spec.parts[0].name']]),
  refused('two faults at once', { size: 'x', color: 'pink' }, [
    '422 Invalid',
    ['FieldValueNotSupported spec.color', 'FieldValueTypeInvalid spec.size'],
  ]),
  {
    name: 'nothing that is required',
    run: async (s) => s.full(await s.post('widgets', 'w', {})),
    gives: '422 Invalid: Widget.contract.spooky.dev "w" is invalid: spec: Required value',
  },
  {
    name: 'a status against its schema',
    run: async (s) => {
      await spec(s, {});
      return s.brief(await s.patch('widgets', 'w', MERGE, { status: { count: 'x' } }, 'status'));
    },
    gives: '422 Invalid',
  },
  {
    name: 'a Listener of this project, with its defaults',
    run: async (s) => {
      const { status, body } = await s.post('listeners', 'l', { spec: { port: 8443, tls: { certificateRefs: [{ name: 'a' }] } } });
      return [status, body.spec, body.metadata.generation];
    },
    gives: [
      201,
      {
        allowedNamespaces: { from: 'Same' },
        className: 'spooky',
        forwarded: { trust: [] },
        limits: {
          bodyIdleTimeout: '30s',
          connectionsPerAddress: 1000,
          handshakesPerSecond: 2000,
          headerBytes: '64Ki',
          headerCount: 128,
          headerTimeout: '10s',
          noRequestTimeout: '5m',
          pending: 1024,
          requestBody: 0,
          requestsPerConnection: 100000,
          responseStall: '60s',
        },
        path: { escapedSlashes: 'Reject' },
        port: 8443,
        protocols: ['HTTP3'],
        proxyStatusDetails: false,
        quic: {
          congestionControl: 'Cubic',
          handshakeTimeout: '10s',
          idleTimeout: '30s',
          keepAlive: 'Auto',
          maxStreams: 128,
          retry: 'Auto',
          streamWindow: '1Mi',
        },
        tls: { allowUpstreamCertificates: false, certificateRefs: [{ name: 'a' }], unmatched: 'Default' },
      },
      1,
    ],
  },
  {
    name: 'a Listener that is refused',
    run: async (s) => {
      const answer = await s.post('listeners', 'l', { spec: { port: 70_000 } });
      // Servers add that CEL was not reached.
      const fields = answer.body.details.causes.map((c: Json) => c.field as string).filter((field: string) => field !== '<nil>');
      return [s.brief(answer), fields.toSorted()];
    },
    gives: ['422 Invalid', ['spec.port', 'spec.tls']],
  },
];
