/** A worker of its own process: answers what comes, opens and closes as it is told, says what its CPU did. */
import { NativeEngine } from '../../../src/edge/quic/native/engine.ts';
import { engineEnvironment } from '../../../src/edge/quic/index.ts';
import { loadAddon } from '../../../src/edge/quic/native/binding.ts';
import type { HandoverStats, QuicEndpoint } from '../../../src/edge/quic/engine.ts';
import { listenOptions, Recorder } from '../../edge/quic/kit.ts';

export type Order =
  | { readonly do: 'open'; readonly number: number; readonly host: string; readonly port: number; readonly folder: string }
  | { readonly do: 'close' }
  | { readonly do: 'ask' };

export interface Answer {
  readonly port: number;
  /** Microseconds, user and system. */
  readonly cpu: number;
  readonly handover: HandoverStats | null;
}

const NAME = '0123456789abcdef';
const addon = engineEnvironment(process.env).addon;
const engine = new NativeEngine({ addon: addon === undefined ? loadAddon() : loadAddon(addon) });
const body = Buffer.alloc(100, 0x61);
let endpoint: QuicEndpoint | null = null;

class Answering extends Recorder {
  override onConnection(): void {}
  override onClose(): void {}
  override onTurnEnd(): void {}
  override onData(c: Parameters<Recorder['onData']>[0], id: number, _b: Uint8Array, _s: number, _e: number, fin: boolean): void {
    if (fin) c.write(id, body, 0, body.length, true);
  }
}

async function follow(order: Order): Promise<void> {
  if (order.do === 'open') {
    const o = listenOptions({
      hosts: [order.host],
      port: order.port,
      reusePort: true,
      handover: { folder: order.folder, name: NAME },
      limits: { bidi: 1024, idleMs: 60_000 },
    });
    endpoint = await engine.listen({ ...o, cid: { ...o.cid, workerId: order.number } }, new Answering());
  } else if (order.do === 'close') {
    await endpoint?.close();
    endpoint = null;
  }
  const stats = endpoint?.stats() ?? null;
  const { user, system } = process.cpuUsage();
  const answer: Answer = {
    port: endpoint?.addresses[0]?.port ?? 0,
    cpu: user + system,
    handover: stats?.handover ?? null,
  };
  process.send?.(answer);
}

process.on('message', (order: Order) => void follow(order));
process.on('disconnect', () => process.exit(0));
