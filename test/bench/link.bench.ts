/** The native engine's side in TypeScript: a batch of events read, the commands that answer it written; without the addon. And small pieces of every request. */
import type { QuicConn, QuicHandler } from '../../src/edge/quic/engine.ts';
import type { Addon, Turn } from '../../src/edge/quic/native/binding.ts';
import { Link } from '../../src/edge/quic/native/link.ts';
import { EVENT_CONN, EVENT_DATA, FIN, RECORD_BYTES, WORDS } from '../../src/edge/quic/native/records.ts';
import { makeRequestId } from '../../src/edge/proxy/requestid.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { processPace } from '../../src/lib/pace.ts';
import { TimerWheel, WheelTimer } from '../../src/lib/wheel.ts';
import type { Case } from './run.ts';

const nothing = (): void => undefined;
const fail = (e: unknown): never => {
  throw e;
};

const BATCH = 32;
const ANSWER = Buffer.alloc(160, 1);
/** The address of a client as the addon writes it: family, port, 16 octets; after both comes the longest datagram. */
const ADDRESSES = 2 * 18 + 4;

/** Answers whatever ends a stream, as a request of a few hundred bytes would be. */
const handler: QuicHandler = {
  onConnection: nothing,
  onData: (c: QuicConn, id: number) => void c.write(id, ANSWER, 0, ANSWER.length, true),
  onReset: nothing,
  onStop: nothing,
  onWritable: nothing,
  onDatagram: nothing,
  onPath: nothing,
  onClose: nothing,
  onTurnEnd: nothing,
  onForeign: nothing,
  onFault: fail,
};

interface Bare {
  readonly events: Uint32Array;
  readonly turn: Turn;
}

function bare(): Bare {
  const eventRecords = new ArrayBuffer(64 * RECORD_BYTES);
  let turn: Turn = () => 0;
  const owner = {
    server: true,
    connected: nothing,
    failed: nothing,
    ended: nothing,
    drained: nothing,
    faulted: fail,
    keyOf: (slot: number) => slot,
  };
  // No command leaves in these: the buffers hold a batch.
  const addon = { submit: fail, flush: nothing } as unknown as Addon;
  const link = new Link({ addon, handler, clock: systemClock, report: (_where, e) => fail(e), pace: processPace }, owner, (take) => {
    turn = take;
    return {
      handle: 1,
      addresses: '[]',
      eventRecords,
      eventData: new ArrayBuffer(64 * 1024),
      commandRecords: new ArrayBuffer(4096 * RECORD_BYTES),
      commandData: new ArrayBuffer(1 << 20),
    };
  });
  if (link.gone) throw new Error('the link is closed');
  return { events: new Uint32Array(eventRecords), turn };
}

function batchCase(): Case {
  const { events, turn } = bare();
  events.set([EVENT_CONN, 0, 1, 0, 0, 0, ADDRESSES, 0]);
  turn(1);
  return {
    name: `link: a request's event and its answer's command, ${BATCH} a batch`,
    run(n) {
      for (let done = 0, id = 0; done < n; done += BATCH) {
        for (let i = 0; i < BATCH; i++, id = (id + 4) % 0x4000_0000) events.set([EVENT_DATA, 0, 1, id, 0, 0, 60, FIN], i * WORDS);
        if (turn(BATCH) !== BATCH) throw new Error('a command is missing');
      }
    },
  };
}

function wheelCase(): Case {
  const wheel = new TimerWheel(systemClock, fail);
  const timers = Array.from({ length: 1024 }, () => new WheelTimer({ onTimer: nothing }));
  return {
    name: 'wheel: arm for a minute, disarm',
    run(n) {
      for (let i = 0; i < n; i++) {
        const timer = timers[i & 1023] as WheelTimer;
        wheel.arm(timer, 60_000);
        wheel.disarm(timer);
      }
      wheel.stop();
    },
  };
}

export const cases: readonly Case[] = [
  batchCase(),
  wheelCase(),
  {
    name: 'proxy: an id for a request',
    run(n) {
      for (let i = 0; i < n; i++) makeRequestId();
    },
  },
];
