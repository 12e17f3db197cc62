/** What `serve` serves from: files, or a cluster. */
import type { Families } from '../../control/admin/families.ts';
import type { Compiled } from '../../control/compile/index.ts';
import type { ResourceSet } from '../../contract/resources/index.ts';
import type { Report } from '../../control/service.ts';
import type { ServiceEndpoints } from '../../control/sources/services.ts';
import type { SourceState } from '../../control/sources/source.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';

export interface Tools {
  readonly clock: Clock;
  readonly log: Log;
  readonly families: Families;
  /** An exception caught at a boundary. */
  readonly defect: (where: string, e: unknown) => void;
}

/** A mode at work. */
export interface Feed {
  /** Resolves with the first complete state, which may take as long as a cluster takes. */
  start(onChange: (state: SourceState) => void): Promise<SourceState>;
  compile(set: ResourceSet): Compiled;
  readonly endpoints: ServiceEndpoints | null;
  /** Why there is no first state yet. */
  pending(): readonly string[];
  report(report: Report): void;
  /** Everything serves. */
  serving(): void;
  /** A drain has begun: this process says nothing more about anybody. */
  drain(): Promise<void>;
  reread(): void;
  stop(): Promise<void>;
}

export interface Mode {
  /** For messages. */
  readonly name: string;
  readonly perObject: boolean;
  /** Whether it has workers at all. */
  readonly serves: boolean;
  /** What tells this process from others of the installation; null: the node's name. */
  readonly nodeId: string | null;
  /** Addresses that no backend may have, beside those that none ever has. */
  readonly deny: readonly string[];
  readonly allowLoopback: boolean;
  /** A state that is read before anything else, since it holds settings; null where there are none in it. */
  early(): Promise<SourceState | null>;
  open(tools: Tools): Feed;
  /** Without having been opened. */
  close(): Promise<void>;
}
