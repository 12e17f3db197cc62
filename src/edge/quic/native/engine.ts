import { systemClock, type Clock } from '../../../lib/clock.ts';
import { messageOf } from '../../../lib/message.ts';
import { processPace, type Pace } from '../../../lib/pace.ts';
import type { ConnectOptions, EngineCaps, ListenOptions, QuicConn, QuicEndpoint, QuicEngine, QuicHandler, TlsPair } from '../engine.ts';
import { readPair } from '../entry.ts';
import { guarded, type Report } from '../report.ts';
import type { Addon } from './binding.ts';
import { dial } from './client.ts';
import { NativeEndpoint } from './endpoint.ts';
import type { LinkOptions } from './link.ts';
import type { Debugging } from './options.ts';

export interface NativeOptions extends Debugging {
  readonly addon: Addon;
  /** For what this side measures; the addon has a clock of its own. */
  readonly clock?: Clock;
  readonly pace?: Pace;
  /** An exception that a boundary caught: a defect of the handler's or of ours. The connection is already closing. */
  readonly onInternalError?: Report | undefined;
}

/** quiche 0.30 in an addon of our own that works in batches (native/). */
export class NativeEngine implements QuicEngine {
  readonly name = 'native';
  readonly version: string;
  readonly caps: EngineCaps = {
    migration: true,
    gso: true,
    pmtud: true,
    newToken: false,
    datagram: true,
    threads: true,
    pq: true,
    handover: true,
  };
  private readonly addon: Addon;
  private readonly clock: Clock;
  private readonly pace: Pace;
  private readonly report: Report;
  private readonly debugging: Debugging;

  constructor(o: NativeOptions) {
    this.addon = o.addon;
    this.version = o.addon.version();
    this.clock = o.clock ?? systemClock;
    this.pace = o.pace ?? processPace;
    this.report = guarded(o.onInternalError);
    this.debugging = { keylog: o.keylog, qlog: o.qlog };
  }

  unfit(given: TlsPair): string | null {
    const pair = readPair(given);
    if (!pair.ok) return pair.error;
    try {
      this.addon.judge(pair.value.cert, pair.value.key);
      return null;
    } catch (e) {
      return messageOf(e);
    }
  }

  async listen(o: ListenOptions, h: QuicHandler): Promise<QuicEndpoint> {
    return new NativeEndpoint(o, this.link(h), this.debugging);
  }

  connect(o: ConnectOptions, h: QuicHandler): Promise<QuicConn> {
    return dial(o, this.link(h));
  }

  private link(handler: QuicHandler): LinkOptions {
    return { addon: this.addon, handler, clock: this.clock, report: this.report, pace: this.pace };
  }
}
