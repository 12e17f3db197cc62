/** Addresses that cannot be bound: who holds them, and when they are tried again. */
import type { LoadProblem } from '../contract/channel.ts';
import type { ListenerPart } from '../contract/snapshot/index.ts';
import type { Clock } from '../lib/clock.ts';

/** An address that was taken may be free by now, above all while another pod of the node ends. */
const RETRY_MS = 2000;
const MAX_RETRY_MS = 60_000;

export interface BindProblem {
  readonly listener: string;
  readonly message: string;
}

/** Of every worker the same. `holder` says who has a UDP port that is taken; null when that cannot be known. */
export async function bindProblems(
  problems: readonly LoadProblem[],
  parts: readonly ListenerPart[],
  holder: (port: number) => Promise<string | null>,
): Promise<readonly BindProblem[]> {
  const ports = new Map(parts.map((part) => [`${part.namespace}/${part.name}`, part.port]));
  const told = new Map<string, BindProblem>();
  for (const { listener, code, message } of problems) {
    const port = ports.get(listener) ?? 0;
    const by = code === 'EADDRINUSE' ? await holder(port) : null;
    const text = `port ${port}: ${message}${by === null ? '' : `, held by ${by}`}`;
    told.set(`${listener} ${text}`, { listener, message: text });
  }
  return [...told.values()];
}

/** The next attempt, after pauses that grow for as long as each of them fails. */
export class BindRetry {
  private readonly clock: Clock;
  private readonly attempt: () => void;
  private cancel: (() => void) | null = null;
  private ms = RETRY_MS;

  constructor(clock: Clock, attempt: () => void) {
    this.clock = clock;
    this.attempt = attempt;
  }

  get planned(): boolean {
    return this.cancel !== null;
  }

  plan(): void {
    this.stop();
    this.cancel = this.clock.after(this.ms, () => {
      this.cancel = null;
      this.attempt();
    });
    this.ms = Math.min(this.ms * 2, MAX_RETRY_MS);
  }

  /** Nothing is to be tried again. */
  settle(): void {
    this.stop();
    this.ms = RETRY_MS;
  }

  stop(): void {
    this.cancel?.();
    this.cancel = null;
  }
}
