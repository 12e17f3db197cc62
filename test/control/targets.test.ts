/** Names, lists and checks together: what is said of addresses that may not be. */
import { describe, expect, test } from '@jest/globals';
import { compile } from '../../src/control/compile/index.ts';
import type { ServiceEndpoint } from '../../src/control/sources/services.ts';
import { Targets } from '../../src/control/targets.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { createLog } from '../../src/lib/log.ts';
import { installation, listener, service, setOf, upstream } from './compile/world.ts';

const setUp = () => {
  const clock = new ManualClock();
  const lines: Record<string, unknown>[] = [];
  const log = createLog({
    level: 'info',
    format: 'json',
    write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>),
    wall: () => 0,
  });
  let endpoints: readonly ServiceEndpoint[] = [];
  let tell: (services: ReadonlySet<string>) => void = () => {};
  const targets = new Targets({
    clock,
    log,
    deny: ['10.0.0.0/8'],
    resolve: () => Promise.resolve([]),
    services: {
      endpoints: () => endpoints,
      counts: () => ({ total: 0, ready: 0 }),
      onChange: (listener) => {
        tell = listener;
        return () => {};
      },
    },
    checks: () => ({ open: () => ({ check: () => {}, close: () => {} }) }),
    random: () => 0,
    onLists: () => {},
    onCheck: () => {},
  });
  const set = setOf([listener(), upstream({ backends: [{ service: { name: 's', port: 'http' } }] }, 'u', 'web')], {
    services: [service('s', 'web')],
    grants: [],
  });
  const become = (...addresses: string[]): void => {
    endpoints = addresses.map((address) => ({ address, port: 80, draining: false }));
    tell(new Set(['web/s']));
  };
  const said = (): Record<string, unknown>[] => lines.splice(0).filter((l) => l['msg'] === 'endpoint refused');
  return { clock, targets, become, said, state: compile(set, { standalone: false, installation: installation() }) };
};

describe('an address that is refused', () => {
  test('is said once, with whose it is, and again when it comes back', async () => {
    const { targets, become, said, state } = setUp();
    await targets.prepare(state);
    become('10.0.0.1', '192.0.2.1');
    become('10.0.0.1', '192.0.2.2');
    expect(said()).toMatchObject([{ upstream: 'web/u', why: 'Service web/s: 10.0.0.1 is not allowed as an endpoint' }]);
    become('192.0.2.2');
    become('10.0.0.1');
    expect(said()).toHaveLength(1);
    targets.stop();
  });

  test('does not fill the log, however many there are and however often they come and go', async () => {
    const { clock, targets, become, said, state } = setUp();
    await targets.prepare(state);
    become(...Array.from({ length: 2000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`));
    expect(said().at(-1)).toMatchObject({ why: 'and 1995 more addresses' });
    for (let i = 0; i < 200; i++) become(`10.1.0.${i}`);
    expect(said()).toHaveLength(54);
    clock.advance(60_000);
    become('10.2.0.1');
    expect(said()).toHaveLength(1);
    targets.stop();
  });
});
