/**
 * Random operations: what watches tell adds up to what lists say, and where there is a real server too, the fake gives the same answers, the
 * same final lists and the same events of every object.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Faces, operations, Run, stories, type Operation } from './operations.ts';
import { seeded } from './random.ts';
import { Scene } from './scene.ts';
import { SERVERS } from './servers.ts';
import { Wire, type Json, type WatchEvent } from './wire.ts';

const SEEDS = [1, 2, 3, 4, 5, 6];
const STEPS = 150;
const PLURALS = ['configmaps', 'widgets'] as const;

interface Trace {
  readonly answers: string[];
  readonly lists: Record<string, Json[]>;
  readonly events: Record<string, Record<string, Json[]>>;
}

let wires: Wire[];

beforeAll(async () => {
  wires = [];
  for (const server of SERVERS) {
    const wire = new Wire(await server.start());
    wires.push(wire);
    await server.prepare(wire);
  }
}, 30_000);

afterAll(async () => {
  for (const wire of wires) wire.close();
  for (const server of SERVERS) await server.stop();
});

/** The last of all, so that everything before it has been told. */
const MARK = 'zz-last';

async function trace(wire: Wire, ops: readonly Operation[]): Promise<Trace> {
  const scene = new Scene(wire);
  await scene.begin();
  const watches = await Promise.all(
    PLURALS.flatMap((plural) =>
      ['', 'labelSelector=tier%3Dfront'].map(async (query) => ({ plural, query, watch: await scene.watch(plural, query) })),
    ),
  );
  const run = new Run(scene);
  const answers: string[] = [];
  for (const op of ops)
    answers.push(`${op.what} ${op.plural}/${op.name} ${op.value} ${op.manager}${op.force ? ' by force' : ''}: ${await run.do(op)}`);
  for (const plural of PLURALS) await scene.post(plural, MARK, { metadata: { labels: { tier: 'front' } }, spec: {} });
  const lists: Record<string, Json[]> = {};
  const events: Record<string, Record<string, Json[]>> = {};
  for (const { plural, query, watch } of watches) {
    const told = await watch.until((event) => event.object.metadata?.name === MARK);
    const { body } = await scene.list(plural, query);
    expect(adds(told)).toEqual((body.items as Json[]).map(version));
    const faces = new Faces();
    events[`${plural} ${query}`] = stories(told, faces);
    lists[`${plural} ${query}`] = (body.items as Json[]).map((item) => faces.of(item));
  }
  wire.endWatches();
  return { answers, lists, events };
}

const version = (object: Json): string =>
  `${String(object.metadata.name)} ${String(object.metadata.uid)} ${String(object.metadata.resourceVersion)}`;

/** What one who believes the events has in the end. */
function adds(events: readonly WatchEvent[]): string[] {
  const held = new Map<string, string>();
  let last = 0;
  for (const { type, object } of events) {
    const now = Number(object.metadata.resourceVersion);
    expect(now).toBeGreaterThan(last);
    last = now;
    const name = object.metadata.name as string;
    expect(held.has(name)).toBe(type !== 'ADDED');
    if (type === 'DELETED') held.delete(name);
    else held.set(name, version(object));
  }
  return [...held.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text);
}

describe(SERVERS.map(({ name }) => name).join(' and '), () => {
  test.each(SEEDS)('seed %d', async (seed) => {
    const ops = operations(STEPS, seeded(seed));
    const traces: Trace[] = [];
    for (const wire of wires) traces.push(await trace(wire, ops));
    const [first, ...others] = traces as [Trace, ...Trace[]];
    const good = first.answers.filter((answer) => /: 20[01]$/.test(answer)).length;
    expect(good).toBeGreaterThan(STEPS / 4);
    expect(good).toBeLessThan(STEPS);
    for (const other of others) {
      expect(first.answers).toEqual(other.answers);
      expect(first.events).toEqual(other.events);
      expect(first.lists).toEqual(other.lists);
    }
  });
});
