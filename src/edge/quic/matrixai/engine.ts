import { systemClock, type Clock } from '../../../lib/clock.ts';
import type { ConnectOptions, EngineCaps, ListenOptions, QuicConn, QuicEndpoint, QuicEngine, QuicHandler, TlsPair } from '../engine.ts';
import { QUICHE_VERSION } from './binding.ts';
import { connect } from './client.ts';
import { guarded, type Report } from '../report.ts';
import { listen } from './endpoint.ts';
import { unfit } from './tls.ts';

export interface MatrixaiOptions {
  readonly clock?: Clock;
  /** An exception that a boundary caught: a defect of the handler's or of ours. The connection is already closing. */
  readonly onInternalError?: Report;
}

/** quiche 0.18 through @matrixai/quic's binding: works wherever npm does on x64 glibc. */
export class MatrixaiEngine implements QuicEngine {
  readonly name = 'matrixai';
  readonly version = QUICHE_VERSION;
  readonly caps: EngineCaps = {
    migration: false,
    gso: false,
    pmtud: false,
    newToken: false,
    datagram: true,
    threads: false,
    pq: false,
    handover: true,
  };
  private readonly clock: Clock;
  private readonly report: Report;

  constructor(o: MatrixaiOptions = {}) {
    this.clock = o.clock ?? systemClock;
    this.report = guarded(o.onInternalError);
  }

  unfit(given: TlsPair): string | null {
    return unfit(given);
  }

  listen(o: ListenOptions, h: QuicHandler): Promise<QuicEndpoint> {
    return listen(o, h, this.clock, this.report);
  }

  connect(o: ConnectOptions, h: QuicHandler): Promise<QuicConn> {
    return connect(o, h, this.clock, this.report);
  }
}
