/** What a full handshake costs a worker beside one certificate and beside many: two instances with the same hosts, in turn. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Fields } from '../../../src/edge/http/fields.ts';
import { fetchOnce } from '../../../src/edge/http/h3/client.ts';
import { chooseEngine } from '../../../src/edge/quic/choose.ts';
import type { QuicEngine } from '../../../src/edge/quic/engine.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { Documents } from './documents.ts';
import { quantile } from './figures.ts';
import { Instance } from './instance.ts';
import { shapeOf, type Options } from './options.ts';
import { makeScratch } from './scratch.ts';

const ROUNDS = 7;
/** Of each instance, in a round. */
const HANDSHAKES = 160;
const AT_ONCE = 4;
const TIMEOUT_MS = 10_000;

export interface Handshakes {
  readonly certificates: number;
  /** CPU milliseconds of the worker for each: medians of the rounds. */
  readonly oneMs: number;
  readonly manyMs: number;
}

class Served {
  readonly costs: number[] = [];
  private readonly instance: Instance;
  private readonly engine: QuicEngine;
  private readonly hosts: number;
  private port = 0;
  private asked = 0;

  constructor(root: string, certificates: number, o: Options, engine: QuicEngine) {
    const folder = join(root, String(certificates));
    const probes = join(folder, 'probes');
    mkdirSync(probes, { recursive: true });
    const shape = { ...shapeOf('certificates', o), certificates };
    this.hosts = shape.hosts;
    this.engine = engine;
    this.instance = new Instance(['--config', new Documents(folder, shape).folder], probes, 1);
  }

  async ready(): Promise<void> {
    const line = (await this.instance.line('ready')) as { readonly listeners?: readonly { readonly addresses: readonly string[] }[] };
    this.port = Number(line.listeners?.[0]?.addresses[0]?.split(':').pop());
  }

  /** One after the other in a few rows. */
  async round(kept: boolean): Promise<void> {
    const before = await this.used();
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (let i = 0; i < HANDSHAKES / AT_ONCE; i++) await this.handshake();
      }),
    );
    if (kept) this.costs.push(((await this.used()) - before) / HANDSHAKES);
  }

  stop(): Promise<void> {
    return this.instance.stop();
  }

  private async used(): Promise<number> {
    const [worker = 0] = this.instance.workers();
    return (await this.instance.readings()).get(worker)?.totalMs ?? NaN;
  }

  /** Each for another of the names; nothing is routed to any backend. */
  private async handshake(): Promise<void> {
    const host = `host-${(this.asked++ * 37) % this.hosts}.example`;
    await fetchOnce(
      this.engine,
      {
        host: '127.0.0.1',
        port: this.port,
        local: null,
        sni: host,
        alpn: ['h3'],
        ca: null,
        insecure: true,
        handshakeMs: TIMEOUT_MS,
        idleMs: TIMEOUT_MS,
      },
      { method: 'GET', scheme: 'https', authority: host, path: '/none', fields: new Fields(), body: null },
      systemClock,
      TIMEOUT_MS,
    );
  }
}

export async function measureHandshakes(o: Options): Promise<Handshakes> {
  const { folder: root, remove } = makeScratch();
  const { engine } = await chooseEngine('auto', {});
  const one = new Served(root, 1, o, engine);
  const many = new Served(root, o.certificates, o, engine);
  try {
    await Promise.all([one.ready(), many.ready()]);
    for (let round = 0; round <= ROUNDS; round++) for (const served of [one, many]) await served.round(round > 0);
    return { certificates: o.certificates, oneMs: quantile(one.costs, 0.5), manyMs: quantile(many.costs, 0.5) };
  } finally {
    await Promise.all([one.stop(), many.stop()]);
    remove();
  }
}
