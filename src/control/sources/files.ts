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
  /** Tests see when it reads. */
  readonly load?: typeof loadPaths;
}

interface Settling {
  cancel: () => void;
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

const POLL_MS = 5000;
/** Events come in bursts, and a file may be half written: what is read has been quiet this long, or waited for long enough. */
const QUIET_MS = 25;
const PATIENCE_MS = 250;
/** What a rename has put into the place of another file is whole. Others may be on their way to theirs. */
const WHOLE_MS = 10;

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
  /** What is wanted is to be read before it is quiet. */
  private early = false;
  /** After so many events what is being read early was begun; -1: nothing is. */
  private ahead = -1;
  private events = 0;
  private firstEventAt = -1;
  private lastEventAt = -1;
  /** Since the first event: what has got or lost its name, each once, and nothing else has happened; null: more has. */
  private renamed: Set<string> | null = new Set();
  /** Until it is quiet. */
  private settling: Settling | null = null;
  private cancelPoll: (() => void) | null = null;
  private stopped = false;

  constructor(path: string, options: FileSourceOptions) {
    this.path = path;
    this.options = options;
    this.clock = options.clock ?? systemClock;
    this.watch = new Watch((replaced, path) => this.event(replaced, path));
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
    this.settle();
    this.watch.stop();
    await this.running;
  }

  /** Not every file system shows each change: who asks for it has everything read. */
  private load(all = false): Promise<LoadResult> {
    return (this.options.load ?? loadPaths)([this.path], { cwd: this.options.cwd, cache: this.cache, all });
  }

  private follow(result: LoadResult): Promise<boolean> {
    this.inputs = result.inputs;
    return this.watch.follow(result.inputs);
  }

  /**
   * A file that was put in its place by a rename is read at once, while others are waited for: mostly it is the only one, and whole. What was read
   * so early does not count when more has happened since.
   */
  private event(replaced: boolean, path: string): void {
    if (this.stopped) return;
    const now = this.clock.now();
    this.events++;
    this.lastEventAt = now;
    if (this.firstEventAt < 0) this.firstEventAt = now;
    if (replaced && this.renamed?.has(path) === false) this.renamed.add(path);
    else this.renamed = null;
    const first = this.settling === null;
    const settling = (this.settling ??= { cancel: () => {}, ...Promise.withResolvers<void>() });
    this.planSettling(settling, QUIET_MS);
    if (first && replaced) this.want('if changed', true);
  }

  private planSettling(settling: Settling, quietMs: number): void {
    settling.cancel();
    const due = Math.min(this.lastEventAt + quietMs, this.firstEventAt + PATIENCE_MS);
    settling.cancel = this.clock.after(Math.max(0, due - this.clock.now()), () => {
      this.settle();
      if (this.ahead !== this.events) this.want('if changed');
    });
  }

  /** All that has happened is that files of configuration got others in their place: a name that is gone may come back, and one that is new be written to. */
  private isWhole(result: LoadResult): boolean {
    const isFile = (input: Input | undefined): boolean => input?.kind === 'file' && input.config;
    return this.renamed !== null && [...this.renamed].every((path) => isFile(this.inputs.get(path)) && isFile(result.inputs.get(path)));
  }

  private settle(): void {
    this.settling?.cancel();
    this.settling?.resolve();
    this.settling = null;
    this.firstEventAt = -1;
    this.renamed = new Set();
  }

  private want(what: 'if changed' | 'always', early = false): void {
    if (this.stopped) return;
    this.early = early && (this.early || this.wanted === 'no');
    if (this.wanted !== 'always') this.wanted = what;
    if (this.started) this.running ??= this.run();
  }

  private async run(): Promise<void> {
    try {
      while (this.wanted !== 'no' && !this.stopped) {
        const always = this.wanted === 'always';
        const at = this.early ? this.events : -1;
        this.wanted = 'no';
        this.early = false;
        this.ahead = at;
        const result = await this.load(always);
        if (at >= 0 && !(await this.stillHolds(at, result))) continue;
        this.publish(result, always);
        if (await this.follow(result)) this.want('if changed');
      }
    } catch (e) {
      this.options.onError?.(e);
    } finally {
      this.running = null;
      this.ahead = -1;
    }
  }

  /** Of what was read early: whether it has become quiet, and nothing happened since. Whatever did is read when that is quiet. */
  private async stillHolds(at: number, result: LoadResult): Promise<boolean> {
    const { settling } = this;
    if (this.events === at && settling !== null) {
      if (this.isWhole(result)) this.planSettling(settling, WHOLE_MS);
      await settling.promise;
    }
    // After a long turn timers are due before the kernel was heard.
    if (this.events === at) await new Promise<void>((done) => void setImmediate(done));
    this.ahead = -1;
    return this.events === at;
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
