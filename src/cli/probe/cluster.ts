/** Wires a probe of a cluster's Listeners: credentials, engine, output. */
import { chooseEngine, engineEnvironment, type ChosenEngine } from '../../edge/quic/index.ts';
import { systemClock } from '../../lib/clock.ts';
import { connectApi } from '../cluster/connect.ts';
import { EXIT, type CommandIo } from '../command.ts';
import { printable } from '../printable.ts';
import type { ServiceName } from './objects.ts';
import { getOnce } from './request.ts';
import { probeRounds, type RoundOptions } from './rounds.ts';

/** Of one request, to the handshake and from there to the end of the answer. */
const PATIENCE = { handshakeMs: 5000, answerMs: 5000 };

export interface ClusterProbe {
  readonly kubeconfig: string | null;
  readonly context: string | null;
  readonly service: ServiceName;
  readonly className: string;
  readonly namespaces: RoundOptions['namespaces'];
  readonly hostname: string | null;
  readonly waitMs: number;
}

export async function probeCluster(o: ClusterProbe, io: CommandIo): Promise<number> {
  let chosen: ChosenEngine;
  try {
    chosen = await chooseEngine('auto', engineEnvironment(io.env));
  } catch (e) {
    io.stderr(`spooky probe: ${printable(e instanceof Error ? e.message : String(e))}\n`);
    return EXIT.engine;
  }
  const connected = await connectApi('probe', o, io);
  if (!connected.ok) {
    io.stdout(`api: ${printable(connected.error)}\n`);
    return EXIT.invalid;
  }
  const { api } = connected.value;
  try {
    const round = await probeRounds(
      { ...o, api, ask: (q) => getOnce(chosen.engine, q, { ca: null, insecure: true }, PATIENCE) },
      o.waitMs,
      systemClock,
    );
    for (const line of round.lines) io.stdout(`${printable(line)}\n`);
    return round.passed ? EXIT.ok : EXIT.invalid;
  } finally {
    api.close();
  }
}
