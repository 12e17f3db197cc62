import type { Cells } from '../../contract/cells.ts';
import type { Clock } from '../../lib/clock.ts';
import type { TimerWheel } from '../../lib/wheel.ts';
import type { Backends } from '../backends/index.ts';
import type { AccessLog } from './accesslog.ts';
import type { Dates } from './dates.ts';
import type { DropCounter } from './headers.ts';
import type { Via } from './via.ts';

export type Log = (level: 'debug' | 'info' | 'warn' | 'error', msg: string, fields: Readonly<Record<string, unknown>>) => void;

/** What all exchanges of a worker share. */
export interface Plant {
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly cells: Cells;
  readonly backends: Backends;
  readonly drops: DropCounter;
  readonly accessLog: AccessLog;
  readonly via: Via;
  readonly dates: Dates;
  readonly log: Log;
}

/** An exception at a boundary: a defect of ours, counted and logged, and the end of what it happened to. */
export function internalError(plant: Pick<Plant, 'cells' | 'log'>, where: string, error: unknown): void {
  plant.cells.add(plant.cells.row('internal_errors_total', where), 1);
  plant.log('error', 'internal error', { where, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
}
