/** What is said of workers that end or have too much memory: docs/operate/production.md explains each line. */
import type { Log } from '../lib/log.ts';
import type { MemoryEvent, WorkerEnd } from './life.ts';
import type { MemoryLimits } from './memorywatch.ts';

/** Ends in a row from which on a worker is in a loop. */
const LOOP_ENDS = 3;

/** `served`: whether any worker serves. */
export const sayEnd = (log: Log, number: number, reason: string, end: WorkerEnd, served: boolean): void => {
  const { worker, role, pid, code, signal, memory, fault, output, quickEnds, pauseMs } = end;
  if (reason === 'memory_soft') {
    log.info('worker relieved', { worker, number, pid, reason, memory });
    return;
  }
  // The end of a process beside its slot's own has no restart of its own.
  const restart = role === 'serving' ? { restartInMs: pauseMs } : { role };
  log.error('worker ended', { worker, number, pid, reason, code, signal, memory, fault, output, quickEnds, ...restart });
  if (quickEnds < LOOP_ENDS || role !== 'serving') return;
  log.error('worker ends again and again', {
    worker,
    times: quickEnds,
    means: served ? 'the other workers serve' : 'nobody serves',
    todo: 'reason, code, signal, fault and output of "worker ended" say why',
    restartInMs: pauseMs,
  });
};

export const sayMemory = (log: Log, limits: MemoryLimits, event: MemoryEvent): void => {
  const { worker, number, pid, memory, successor, pauseMs } = event;
  const figures = { worker, number, pid, memory, softLimit: limits.soft, hardLimit: limits.hard };
  if (event.kind === 'kill') log.error('worker over its hard memory limit: killed', figures);
  else if (event.kind === 'relieve') {
    const what = successor < 0 ? 'not replaced, no number is free' : 'a replacement starts';
    log.warn(`worker over its soft memory limit: ${what}`, { ...figures, successor, nextNotBeforeMs: pauseMs });
  } else {
    const never = event.ms < 0;
    const why = never ? 'it is the only one, and datagrams cannot be handed over' : 'the last replacement is not long ago';
    log.warn('worker over its soft memory limit: not replaced yet', {
      ...figures,
      why,
      ...(never ? {} : { waitMs: Math.round(event.ms) }),
    });
  }
};

/** Why a start is given up. */
export const failedStartText = (reason: string, end: WorkerEnd): string => {
  const last = end.fault === '' ? end.output : end.fault;
  const hint = reason === 'memory_hard' ? '--worker-memory is less than a worker takes at rest' : last;
  const ends = `worker processes end before they have begun (${reason}, code ${end.code}, signal ${end.signal})`;
  return hint === '' ? ends : `${ends}: ${hint}`;
};
