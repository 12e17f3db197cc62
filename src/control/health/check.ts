/** One check of one endpoint, as the checker sees it: how it is carried out is the transport's. */
import type { GroupPart, HealthCheckPart } from '../../contract/snapshot/parts.ts';
import type { Reason } from '../../contract/reasons.ts';

export interface CheckedEndpoint {
  /** An IP literal. */
  readonly address: string;
  readonly port: number;
  readonly host: string;
  readonly label: string;
}

/** A group and its endpoints, before any verdict. */
export interface CheckedGroup {
  readonly group: GroupPart;
  readonly endpoints: readonly CheckedEndpoint[];
}

export interface CheckTarget {
  readonly group: GroupPart;
  readonly check: HealthCheckPart;
  readonly endpoint: CheckedEndpoint;
}

export type CheckReason = Reason;

export interface CheckTransport {
  /** A connection of its own, kept between checks. `done` comes exactly once, at the latest after the check's time-out. */
  open(target: CheckTarget): Checker;
}

export interface Checker {
  check(done: (success: boolean, reason: CheckReason) => void): void;
  close(): void;
}

export const statusExpected = (check: HealthCheckPart, status: number): boolean =>
  check.statuses.some(([low, high]) => status >= low && status <= high);
