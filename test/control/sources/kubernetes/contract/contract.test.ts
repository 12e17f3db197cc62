/**
 * What an API server does, case by case: the fake of the kit, and a real kube-apiserver where SPOOKY_APISERVER_KUBECONFIG names a kubeconfig of an
 * administrator of one. What a case gives was taken from the real one; where the fake differs, the fake is wrong.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ACCESS } from './cases/access.ts';
import { APPLIES } from './cases/applies.ts';
import { DEFINITIONS } from './cases/definitions.ts';
import { DELETES } from './cases/deletes.ts';
import { EVENTS } from './cases/events.ts';
import { LISTS } from './cases/lists.ts';
import { PATCHES } from './cases/patches.ts';
import { SCHEMAS } from './cases/schemas.ts';
import { SELECTORS } from './cases/selectors.ts';
import { STATUSES } from './cases/statuses.ts';
import { TYPES } from './cases/types.ts';
import { WATCHES } from './cases/watches.ts';
import { WRITES } from './cases/writes.ts';
import { Scene, type Case } from './scene.ts';
import { realServer, SERVERS, type Server } from './servers.ts';
import { Wire } from './wire.ts';

const TABLES: Readonly<Record<string, readonly Case[]>> = {
  lists: LISTS,
  selectors: SELECTORS,
  watches: WATCHES,
  events: EVENTS,
  writes: WRITES,
  deletes: DELETES,
  schemas: SCHEMAS,
  types: TYPES,
  patches: PATCHES,
  applies: APPLIES,
  statuses: STATUSES,
  access: ACCESS,
  definitions: DEFINITIONS,
};

test('there are at least a hundred cases, each under a name of its own', () => {
  const names = Object.entries(TABLES).flatMap(([table, cases]) => cases.map(({ name }) => `${table}: ${name}`));
  expect(names.length).toBeGreaterThanOrEqual(100);
  expect(new Set(names).size).toBe(names.length);
});

if (realServer() === null)
  describe.skip('a real server: SPOOKY_APISERVER_KUBECONFIG names none', () => test('every case', () => undefined));

describe.each(SERVERS)('$name', (server: Server) => {
  let wire: Wire;

  beforeAll(async () => {
    wire = new Wire(await server.start());
    await server.prepare(wire);
  }, 30_000);

  afterAll(async () => {
    wire.close();
    await server.stop();
  });

  for (const [table, cases] of Object.entries(TABLES)) {
    describe(table, () => {
      test.each(cases)('$name', async ({ run, gives }) => {
        const scene = new Scene(wire);
        await scene.begin();
        try {
          // As JSON, where what is undefined is not there.
          expect(JSON.parse(JSON.stringify(await run(scene)))).toEqual(gives);
        } finally {
          wire.endWatches();
        }
      });
    });
  }
});
