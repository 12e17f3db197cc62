/** Asks every worker for its rows or its activity and waits for the answers, but never for long. */
import type { RowReading } from '../contract/cells.ts';
import type { EndpointActivity, FromWorker, ToWorker } from '../contract/channel.ts';
import type { Clock } from '../lib/clock.ts';

export const COLLECT_MS = 800;

interface Round<Item> {
  readonly id: number;
  readonly missing: Set<number>;
  readonly onItems: (workerId: number, items: readonly Item[], last: boolean) => void;
  readonly finish: () => void;
}

class Collector<Item> {
  private readonly clock: Clock;
  private readonly ask: (workerId: number, id: number) => void;
  private ids = 0;
  private round: Round<Item> | null = null;
  private under: Promise<void> | null = null;
  private following: Promise<void> | null = null;

  constructor(clock: Clock, ask: (workerId: number, id: number) => void) {
    this.clock = clock;
    this.ask = ask;
  }

  /** Whoever asks while a round is under way shares the one after it: a worker's answer may be older than the question otherwise. */
  collect(workers: () => readonly number[], onItems: (workerId: number, items: readonly Item[], last: boolean) => void): Promise<void> {
    if (this.under === null) return this.begin(workers(), onItems);
    this.following ??= this.under.then(() => {
      this.following = null;
      return this.begin(workers(), onItems);
    });
    return this.following;
  }

  private begin(workers: readonly number[], onItems: (workerId: number, items: readonly Item[], last: boolean) => void): Promise<void> {
    const under = new Promise<void>((resolve) => {
      const id = ++this.ids;
      const cancel = this.clock.after(COLLECT_MS, () => this.round?.finish());
      const finish = (): void => {
        cancel();
        this.round = null;
        this.under = null;
        resolve();
      };
      this.round = { id, missing: new Set(workers), onItems, finish };
      if (workers.length > 0) for (const worker of workers) this.ask(worker, id);
      else queueMicrotask(finish);
    });
    this.under = under;
    return under;
  }

  receive(workerId: number, id: number, items: readonly Item[], last: boolean): void {
    const { round } = this;
    if (round === null || round.id !== id || !round.missing.has(workerId)) return;
    round.onItems(workerId, items, last);
    if (last) this.gone(workerId);
  }

  gone(workerId: number): void {
    const { round } = this;
    if (round === null || !round.missing.delete(workerId)) return;
    if (round.missing.size === 0) round.finish();
  }
}

export class Collectors {
  private readonly rows: Collector<RowReading>;
  private readonly endpoints: Collector<EndpointActivity>;

  constructor(clock: Clock, send: (workerId: number, message: ToWorker) => void) {
    this.rows = new Collector(clock, (worker, id) => send(worker, { type: 'cells', id }));
    this.endpoints = new Collector(clock, (worker, id) => send(worker, { type: 'activity', id }));
  }

  /** `last`: with these rows the worker has told all. */
  cells(workers: () => readonly number[], fold: (workerId: number, rows: readonly RowReading[], last: boolean) => void): Promise<void> {
    return this.rows.collect(workers, fold);
  }

  activity(workers: () => readonly number[], add: (workerId: number, endpoints: readonly EndpointActivity[]) => void): Promise<void> {
    return this.endpoints.collect(workers, add);
  }

  /** Whether the message was an answer to one of these. */
  receive(workerId: number, m: FromWorker): boolean {
    if (m.type === 'cells') this.rows.receive(workerId, m.id, m.rows, m.last);
    else if (m.type === 'activity') this.endpoints.receive(workerId, m.id, m.endpoints, m.last);
    else return false;
    return true;
  }

  gone(workerId: number): void {
    this.rows.gone(workerId);
    this.endpoints.gone(workerId);
  }
}
