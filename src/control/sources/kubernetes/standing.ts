/** How a reflector gets on with its server: what it counts, logs and says of it. */
import { messageOf } from './answers.ts';
import type { ApiError, ApiErrorKind } from './api.ts';
import type { ReflectorOptions, WatchErrorReason } from './handler.ts';

const reasonOf = (kind: ApiErrorKind): WatchErrorReason => {
  if (kind === 'conflict' || kind === 'invalid' || kind === 'aborted') return 'server';
  return kind;
};
const textOf = (error: ApiError): string => `${error.kind.replaceAll('_', ' ')}: ${error.message}`;

type Needs<T> = Pick<ReflectorOptions<T>, 'kind' | 'namespace' | 'clock' | 'log' | 'handler' | 'hooks' | 'optional'>;

export class Standing<T> {
  /** `Upstreams`, `Secrets of namespace shop`. */
  readonly what: string;
  problem: string | null;
  /** Milliseconds since the epoch; 0: never. */
  heardAt = 0;
  private readonly o: Needs<T>;
  private failing: ApiErrorKind | null = null;
  private isMissing = false;
  private complained = false;

  constructor(o: Needs<T>) {
    this.o = o;
    this.what = `${o.kind.kind}s${o.namespace === null ? '' : ` of namespace ${o.namespace}`}`;
    this.problem = o.optional ? null : `${this.what} are not listed yet`;
  }

  /** Nobody answers. */
  get outage(): boolean {
    return this.failing === 'connection' || this.failing === 'timeout';
  }

  heard(): void {
    this.heardAt = this.o.clock.wall();
    this.o.hooks.heard(this.o.kind.kind);
  }

  /** Of an attempt to do so: `listed`, `watched`. */
  failed(error: ApiError, attempt: string): void {
    const { hooks, kind, log, optional } = this.o;
    hooks.error(kind.kind, reasonOf(error.kind));
    const tolerable = error.kind === 'not_found' && optional;
    this.problem = tolerable ? null : `${this.what} cannot be ${attempt}: ${textOf(error)}`;
    if (this.failing !== error.kind) {
      this.failing = error.kind;
      const level = tolerable || error.kind === 'gone' ? 'info' : 'warn';
      log.at(level, `${this.what} cannot be read`, { reason: error.kind, status: error.status, message: error.message });
    }
    if (error.kind === 'not_found') this.missing();
  }

  recovered(): void {
    this.problem = null;
    this.isMissing = false;
    if (this.failing === null) return;
    this.failing = null;
    this.o.log.info(`${this.what} are read again`);
  }

  /** One object, or one event, that is not as it should be: counted each time, said once per stream. */
  odd(message: string): void {
    this.o.hooks.error(this.o.kind.kind, 'malformed');
    if (this.complained) return;
    this.complained = true;
    this.o.log.warn(`an object of ${this.what} was left out`, { message });
  }

  disordered(listInMs: number): void {
    this.o.log.warn(`events of ${this.what} came out of order: they are listed again`, { inMs: Math.round(listInMs) });
  }

  /** Another stream, or another list. */
  anew(): void {
    this.complained = false;
  }

  private missing(): void {
    if (this.isMissing) return;
    this.isMissing = true;
    try {
      this.o.handler.missing?.();
    } catch (e) {
      this.odd(messageOf(e));
    }
  }
}
