/** The CPU profile of a worker while it is under load, taken through its inspector: no flag of the worker is needed. */
import type { Program } from './program.ts';

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

export interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: CallFrame }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface SelfTime {
  readonly name: string;
  /** Of the time in which the process was not idle. */
  readonly share: number;
}

const nameOf = ({ functionName, url, lineNumber }: CallFrame): string => {
  const file = url.replace(/^.*\/(?=[^/]+\/[^/]+\/[^/]+$)/, '');
  return `${functionName === '' ? '(anonymous)' : functionName}${file === '' ? '' : ` ${file}:${lineNumber + 1}`}`;
};

/** Functions by their own time, dearest first. */
export function selfTimes(profile: CpuProfile): readonly SelfTime[] {
  const names = new Map(profile.nodes.map((n) => [n.id, nameOf(n.callFrame)]));
  const sums = new Map<string, number>();
  profile.samples.forEach((id, i) => {
    const name = names.get(id) ?? '(unknown)';
    if (name !== '(idle)') sums.set(name, (sums.get(name) ?? 0) + (profile.timeDeltas[i] ?? 0));
  });
  const total = [...sums.values()].reduce((a, b) => a + b, 0);
  return [...sums].map(([name, sum]) => ({ name, share: total > 0 ? sum / total : 0 })).sort((a, b) => b.share - a.share);
}

const INSPECTOR = /ws:\/\/127\.0\.0\.1:\d+\/[\w-]+/;
const SAMPLE_MICROS = 250;

export class Profiler {
  #socket: WebSocket;
  #next = 1;
  #waiting = new Map<number, (result: unknown) => void>();

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', (event) => {
      const reply = JSON.parse(String(event.data)) as { id?: number; result?: unknown };
      if (reply.id !== undefined) this.#waiting.get(reply.id)?.(reply.result);
    });
  }

  /** Opens the inspector of a worker of this program; its address is in what the worker prints. */
  static async open(program: Program, worker: number): Promise<Profiler> {
    process.kill(worker, 'SIGUSR1');
    const url = await program.waitFor((line) => INSPECTOR.exec(line)?.[0]);
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve);
      socket.addEventListener('error', reject);
    });
    const profiler = new Profiler(socket);
    await profiler.#call('Profiler.enable');
    await profiler.#call('Profiler.setSamplingInterval', { interval: SAMPLE_MICROS });
    return profiler;
  }

  async start(): Promise<void> {
    await this.#call('Profiler.start');
  }

  async stop(): Promise<CpuProfile> {
    return ((await this.#call('Profiler.stop')) as { profile: CpuProfile }).profile;
  }

  close(): void {
    this.#socket.close();
  }

  #call(method: string, params: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const id = this.#next++;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }
}
