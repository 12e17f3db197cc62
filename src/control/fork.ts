/** Workers as real processes. They inherit neither our standard streams nor our arguments: one process writes all lines. */
import { fork } from 'node:child_process';
import { constants, getPriority, setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { FromWorker } from '../contract/channel.ts';
import type { Spawn } from './life.ts';

const MAX_LINE = 2000;
/**
 * Workers may use up what a control group has of the CPU: whoever answers probes goes first. It takes nothing from them, since the one
 * process that goes before them has little to do. Without a quota nothing stands still, and they would wait behind whatever else runs there.
 */
const NICENESS = 5;
/** How long the last lines of a process that has ended are waited for. */
const LAST_LINES_MS = 100;

/** Without a descriptor to spare there are no streams, whatever their types say. */
const relay = (stream: Readable | null | undefined, onLine: (line: string) => void): void => {
  if (stream === null || stream === undefined) return;
  createInterface({ input: stream }).on('line', (line) => onLine(line.slice(0, MAX_LINE)));
};

/**
 * V8 would compact the heap whenever little was allocated for some seconds: with 10,000 Upstreams that stops a worker that serves for 30 to 40 ms, more
 * than any change does. Workers collect by themselves when their loop is idle.
 * Every core has a worker: each has one helper, not the four that V8 would start, which take up to four fifths of a core from an event loop.
 * The young generation would grow to twice 32 MiB, a step whenever enough of it had survived, which takes a busy worker many minutes: twice 16 are reached
 * in the first one, and no request costs more.
 */
const EXEC_ARGV: readonly string[] = ['--no-warnings', '--no-memory-reducer', '--v8-pool-size=1', '--max-semi-space-size=16'];

/** Threads that it starts later on are as nice as it is. */
function beNice(pid: number | undefined): void {
  try {
    if (pid !== undefined) setPriority(pid, Math.min(constants.priority.PRIORITY_LOW, getPriority() + NICENESS));
  } catch {
    // It is gone already, or its priority is none of ours to set.
  }
}

/** `script` is worker.js, or worker.ts where Node strips the types. `quota`: the control group has no more than a part of the CPUs. */
export const forkWorkers =
  (script: URL, quota: boolean): Spawn =>
  (_number, events) => {
    const child = fork(fileURLToPath(script), [], {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      execArgv: [...EXEC_ARGV],
    });
    relay(child.stdout, events.onOutput);
    relay(child.stderr, events.onOutput);
    if (quota) beNice(child.pid);
    let ended = false;
    const end = (code: number | null, signal: string | null): void => {
      if (ended) return;
      ended = true;
      events.onExit(code, signal);
    };
    child.on('message', (message) => events.onMessage(message as FromWorker));
    child.on('close', end);
    // Somebody else may hold its streams open.
    child.on('exit', (code, signal) => setTimeout(end, LAST_LINES_MS, code, signal));
    // The process could not be started, or a message could not be sent: `exit` follows in the second case only.
    child.on('error', () => {
      if (child.pid === undefined) end(null, null);
    });
    return {
      pid: child.pid ?? 0,
      send: (message) => {
        if (child.connected) child.send(message, () => {});
      },
      kill: () => child.kill('SIGKILL'),
    };
  };
