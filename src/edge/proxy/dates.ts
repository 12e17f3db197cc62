import type { Clock } from '../../lib/clock.ts';
import type { Fields } from '../http/fields.ts';

/** What the field `date` says, spelt out once a second. */
export class Dates {
  private readonly clock: Clock;
  /** When the wall clock was looked at last: in one turn it has not moved. */
  private at = -1;
  private second = -1;
  private text = '';

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Within a second always the same string. */
  today(): string {
    const at = this.clock.now();
    if (at === this.at) return this.text;
    this.at = at;
    const now = this.clock.wall();
    const second = Math.floor(now / 1000);
    if (second !== this.second) {
      this.second = second;
      this.text = new Date(now).toUTCString();
    }
    return this.text;
  }

  /** RFC 9110 s6.6.1: an answer that came without one is passed on with the time at which it came. */
  complete(fields: Fields): void {
    if (isUndated(fields)) fields.add('date', this.today());
  }
}

export const isUndated = (fields: Fields): boolean => fields.names.indexOf('date') < 0;
