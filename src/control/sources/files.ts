/** Configuration from a file or a directory, watched. */
import { systemClock, type Clock } from '../../lib/clock.ts';
import { createLoadCache, loadPaths, type Input, type LoadCache, type LoadResult } from './load.ts';
import { signatureOf } from './read.ts';
import type { Source, SourceState } from './source.ts';
import { Watch } from './watch.ts';

export interface FileSourceOptions {
  /** Absolute. */
  readonly cwd: string;
  readonly clock?: Clock;
  /** How often everything is looked at, whatever the kernel tells. */
  readonly pollMs?: number;
  /** A fault of our own, never of a file. */
  readonly onError?: (e: unknown) => void;
}

const POLL_MS = 5000;
/** Events come in bursts, and a file may be half written: what is read has been quiet this long, or waited for long enough. */
const QUIET_MS = 25;
const PATIENCE_MS = 250;

export const createSource = (path: string, options: FileSourceOptions): Source => new FileSource(path, options);

export class FileSource implements Source {
  private readonly path: string;
  private readonly options: FileSourceOptions;
  private readonly clock: Clock;
  private readonly cache: LoadCache = createLoadCache();
  private readonly watch: Watch;
  private onChange: ((state: SourceState) => void) | null = null;
  private inputs: ReadonlyMap<string, Input> = new Map();
  private digest = '';
  /** Until then nothing else reads: two at once would read into what both had read before. */
  private started = false;
  /** The work in hand; at most one. */
  private running: Promise<void> | null = null;
  private wanted: 'no' | 'if changed' | 'always' = 'no';
  private firstEventAt = -1;
  private cancelSettle: (() => void) | null = null;
  private cancelPoll: (() => void) | null = null;
  private stopped = false;

  constructor(path: string, options: FileSourceOptions) {
    this.path = path;
    this.options = options;
    this.clock = options.clock ?? systemClock;
    this.watch = new Watch(() => this.event());
  }

  async start(onChange: (state: SourceState) => void): Promise<SourceState> {
    let result = await this.load();
    // What changed before the watchers stood is seen by reading once more.
    if (await this.follow(result)) result = await this.load();
    this.digest = result.digest;
    await this.follow(result);
    this.onChange = onChange;
    this.started = true;
    if (this.wanted !== 'no') this.want(this.wanted);
    this.schedulePoll();
    return result.state;
  }

  reread(): void {
    this.want('always');
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.onChange = null;
    this.cancelPoll?.();
    this.cancelSettle?.();
    this.watch.stop();
    await this.running;
  }

  /** Not every file system shows each change: who asks for it has everything read. */
  private load(all = false): Promise<LoadResult> {
    return loadPaths([this.path], { cwd: this.options.cwd, cache: this.cache, all });
  }

  private follow(result: LoadResult): Promise<boolean> {
    this.inputs = result.inputs;
    return this.watch.follow(result.inputs);
  }

  private event(): void {
    if (this.stopped) return;
    const now = this.clock.now();
    if (this.firstEventAt < 0) this.firstEventAt = now;
    this.cancelSettle?.();
    const left = this.firstEventAt + PATIENCE_MS - now;
    this.cancelSettle = this.clock.after(Math.max(0, Math.min(QUIET_MS, left)), () => {
      this.cancelSettle = null;
      this.firstEventAt = -1;
      this.want('if changed');
    });
  }

  private want(what: 'if changed' | 'always'): void {
    if (this.stopped) return;
    if (this.wanted !== 'always') this.wanted = what;
    if (this.started) this.running ??= this.run();
  }

  private async run(): Promise<void> {
    try {
      while (this.wanted !== 'no' && !this.stopped) {
        const always = this.wanted === 'always';
        this.wanted = 'no';
        const result = await this.load(always);
        if (await this.follow(result)) this.wanted = always ? 'always' : 'if changed';
        else this.publish(result, always);
      }
    } catch (e) {
      this.options.onError?.(e);
    } finally {
      this.running = null;
    }
  }

  private publish(result: LoadResult, always: boolean): void {
    if (this.stopped || (!always && result.digest === this.digest)) return;
    this.digest = result.digest;
    this.onChange?.(result.state);
  }

  private schedulePoll(): void {
    this.cancelPoll = this.clock.after(this.options.pollMs ?? POLL_MS, () => void this.poll());
  }

  private async poll(): Promise<void> {
    try {
      for (const [path, input] of this.inputs)
        if ((await signatureOf(path)) !== input.signature) {
          this.want('if changed');
          break;
        }
    } catch (e) {
      this.options.onError?.(e);
    }
    if (!this.stopped) this.schedulePoll();
  }
}
