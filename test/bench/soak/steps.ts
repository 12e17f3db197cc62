/** The steps: what each does, and what it makes of the memory that it saw. */
import { wait } from '../proxy/program.ts';
import type { Setting } from '../proxy/setting.ts';
import { dialSeconds, helping, holdIdle, openAndClose, split } from './clients.ts';
import { mib, percent, sum, trendHead, trendOf, trendRow, Watch, type Sample } from './memory.ts';
import type { Options } from './options.ts';
import type { Subject } from './subject.ts';

export interface Outcome {
  readonly passed: boolean;
  readonly text: string;
}

export interface Arena {
  readonly s: Setting;
  readonly o: Options;
  readonly subject: Subject;
  readonly progress: (text: string) => void;
}

const workersOf = (sample: Sample): number => sum(sample.workers);

// Churn

/** What memory may gain once it is warm. */
const RISE = 0.03;
const EVERY_MS = 5_000;
/** Turns of the clients between two changes of the configuration, and between two certificates. */
const RECONFIGURE = 3;
const SWAP = 10;

export async function soak({ s, o, subject, progress }: Arena): Promise<Outcome> {
  const seconds = o.minutes * 60;
  const warmUp = Math.max(20, seconds / 4);
  const began = performance.now();
  const elapsed = (): number => (performance.now() - began) / 1000;
  const watch = new Watch(() => ({ ...subject.sample(), seconds: elapsed() }), Math.min(EVERY_MS, (seconds * 1000) / 60));
  let [turn, said, changes] = [0, 0, 0];
  try {
    for (; elapsed() < seconds; turn++) {
      await helping(s, subject.port, turn);
      watch.check();
      if (turn % RECONFIGURE === 0) changes++;
      if (turn % RECONFIGURE === 0) subject.reconfigure();
      if (turn % SWAP === 0) subject.swapCertificate();
      if (elapsed() - said >= 60) {
        said = elapsed();
        const now = subject.sample();
        progress(`soak: ${turn} turns, main ${mib(now.main)} MiB, workers ${now.workers.map(mib).join(' and ')} MiB`);
      }
    }
  } finally {
    watch.stop();
  }
  const applied = await subject.metric('spooky_config_apply_total', 'result="applied"');
  return judgeSoak(
    o,
    watch.samples,
    warmUp,
    [`${turn} turns, ${changes} configurations written, ${applied} applied`],
    await subject.whole(),
  );
}

export function judgeSoak(o: Options, samples: readonly Sample[], warmUp: number, facts: readonly string[], whole: boolean): Outcome {
  const names = ['main', ...(samples[0]?.workers ?? []).map((_, i) => `worker ${i}`), 'all'];
  const picks = [
    (x: Sample) => x.main,
    ...(samples[0]?.workers ?? []).map((_, i) => (x: Sample) => x.workers[i] ?? NaN),
    (x: Sample) => x.main + workersOf(x),
  ];
  const trends = picks.map((pick) => trendOf(samples, warmUp, pick));
  const all = trends.at(-1);
  if (all === null || all === undefined) return { passed: false, text: `soak: ${samples.length} samples are too few` };
  const rows = trends.map((t, i) => (t === null ? '' : trendRow(names[i] ?? '', t)));
  const flat = all.rise <= RISE;
  const verdict = `soak: ${percent(all.rise)} after ${warmUp.toFixed(0)} s of warm-up, ${percent(RISE)} allowed`;
  const bound = o.engine === 'native' ? flat : true;
  return {
    passed: bound && whole,
    text: [trendHead, ...rows, ...facts, whole ? verdict : `${verdict}; a worker was replaced meanwhile`].join('\n'),
  };
}

// A burst

const BURST = 5_000;
/** How long all of them are open together. */
const BURST_SILENCE = 5;
const BURST_REST = 60_000;
const RETURNED = 0.25;
/** What runs before, so that code is compiled and pools have their size. */
const WARM = 400;

export async function burst({ s, o, subject, progress }: Arena): Promise<Outcome> {
  const connections = o.connections ?? BURST;
  for (let i = 0; i < 3; i++) await openAndClose(subject.port, WARM);
  await wait(20_000);
  const before = workersOf(subject.sample());
  progress(`burst: workers ${mib(before)} MiB before`);
  const held = holdIdle(s, subject.port, connections, BURST_SILENCE);
  await Promise.race([held.ended, wait((dialSeconds(connections) + BURST_SILENCE * 0.8) * 1000)]);
  const peak = workersOf(subject.sample());
  await held.ended;
  progress(`burst: workers ${mib(peak)} MiB with ${connections} connections`);
  await wait(BURST_REST);
  const after = workersOf(subject.sample());
  const passed = o.engine !== 'native' || after <= before * (1 + RETURNED);
  const text = `burst: workers ${mib(before)} MiB before, ${mib(peak)} with ${connections} connections, ${mib(after)} a minute after they closed: ${percent(after / before - 1)}, ${percent(RETURNED)} allowed`;
  return { passed: passed && (await subject.whole()), text };
}

// Idle connections

const IDLE = 20_000;
/** How long all of them lie idle, and how long they have when the memory is read. */
const SILENCE = 60;
const SETTLE = 15;
const KIB = 56;

/** Until all are open and have been silent for a while, as far as there is time. */
async function settled(subject: Subject, connections: number): Promise<void> {
  const until = performance.now() + (dialSeconds(connections) + SILENCE - SETTLE) * 1000;
  while (performance.now() < until && (await subject.metric('spooky_connections_active')) < connections) await wait(1_000);
  await wait(SETTLE * 1000);
}

export async function idle({ s, o, subject, progress }: Arena): Promise<Outcome> {
  const connections = o.connections ?? IDLE;
  for (let i = 0; i < 3; i++) await openAndClose(subject.port, WARM);
  await wait(20_000);
  const before = subject.sample();
  progress(`idle: workers ${mib(workersOf(before))} MiB before`);
  const held = holdIdle(s, subject.port, connections, SILENCE);
  await Promise.race([held.ended, settled(subject, connections)]);
  const [during, open] = [subject.sample(), await subject.metric('spooky_connections_active')];
  const each = during.workers.map((rss, i) => rss - (before.workers[i] ?? NaN));
  const perConnection = sum(each) / connections / 1024;
  progress(`idle: workers ${mib(workersOf(during))} MiB with ${open} connections`);
  await held.ended;
  const bound = o.engine !== 'native' || perConnection <= KIB;
  const text = `idle: ${open} connections on ${o.workers} workers from ${split(connections).length} processes, all answered at the end: ${perConnection.toFixed(1)} KiB each, ${KIB} allowed (workers grew by ${each.map(mib).join(' and ')} MiB)`;
  return { passed: bound && open === connections && (await subject.whole()), text };
}
