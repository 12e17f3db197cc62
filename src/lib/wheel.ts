import type { Clock } from './clock.ts';

/** What a due timer calls: one owner may hold several timers and tells them apart by `kind`. */
export interface TimerOwner {
  onTimer(kind: number): void;
}

/** One deadline, made once with its owner and armed many times. */
export class WheelTimer {
  readonly owner: TimerOwner;
  readonly kind: number;
  deadline = 0;
  /** The slot's time that this timer is linked under; -1 when it is in no slot. */
  slotAt = -1;
  prev: WheelTimer | null = null;
  next: WheelTimer | null = null;
  armed = false;

  constructor(owner: TimerOwner, kind = 0) {
    this.owner = owner;
    this.kind = kind;
  }
}

const SLOTS = 1024;

/**
 * Deadlines for requests, streams and connections without a timer each.
 *
 *     slot 0 -> timer <-> timer          one intrusive list per tick; a timer further away than the
 *     slot 1 -> (empty)                  wheel's span waits in its last slot and is moved on when
 *     ...                                that slot comes round
 *
 * Arming for later than before only writes `deadline`: the move happens when the old slot is reached,
 * so re-arming per chunk costs one comparison. Timers fire at most one tick late, never early.
 * Between slots with timers the wheel sleeps: its one timer of the clock is for the first of them.
 */
export class TimerWheel {
  readonly tickMs: number;
  private readonly clock: Clock;
  private readonly slots: (WheelTimer | null)[];
  private readonly onError: (e: unknown) => void;
  private cursor: number;
  private linked = 0;
  private advancing = false;
  private cancel: (() => void) | null = null;
  /** The slot's time that the clock's timer is for: those before it are empty. */
  private wakeAt = 0;

  constructor(clock: Clock, onError: (e: unknown) => void, tickMs = 10) {
    this.clock = clock;
    this.onError = onError;
    this.tickMs = tickMs;
    this.slots = Array.from({ length: SLOTS }, () => null);
    this.cursor = this.passed();
  }

  now(): number {
    return this.clock.now();
  }

  arm(t: WheelTimer, ms: number): void {
    const now = this.clock.now();
    t.deadline = now + ms;
    t.armed = true;
    const tick = this.tickOf(t.deadline);
    if (t.slotAt >= 0) {
      if (t.slotAt <= tick) return;
      this.unlink(t);
    }
    // A wheel that sleeps does not turn: catch up. Within `advance` the cursor is the loop's own.
    if (!this.advancing) this.catchUp(now);
    this.link(t, tick);
    if (!this.advancing) this.schedule(now, t.slotAt);
  }

  disarm(t: WheelTimer): void {
    t.armed = false;
  }

  /** For good: also takes the timer out of its slot, so that the wheel keeps nothing of the owner alive. */
  release(t: WheelTimer): void {
    t.armed = false;
    if (t.slotAt >= 0) this.unlink(t);
  }

  stop(): void {
    this.cancel?.();
    this.cancel = null;
  }

  /** The last tick that is wholly in the past. */
  private passed(): number {
    return Math.floor(this.clock.now() / this.tickMs);
  }

  private tickOf(ms: number): number {
    return Math.floor(ms / this.tickMs) + 1;
  }

  private link(t: WheelTimer, tick: number): void {
    const at = Math.min(Math.max(tick, this.cursor + 1), this.cursor + SLOTS - 1);
    const i = at % SLOTS;
    const head = this.slots[i] ?? null;
    t.slotAt = at;
    t.prev = null;
    t.next = head;
    if (head !== null) head.prev = t;
    this.slots[i] = t;
    this.linked++;
  }

  private unlink(t: WheelTimer): void {
    if (t.prev !== null) t.prev.next = t.next;
    else this.slots[t.slotAt % SLOTS] = t.next;
    if (t.next !== null) t.next.prev = t.prev;
    t.prev = null;
    t.next = null;
    t.slotAt = -1;
    this.linked--;
  }

  /** Past what is over and empty. */
  private catchUp(now: number): void {
    const passed = Math.floor(now / this.tickMs);
    if (this.linked === 0) this.cursor = passed;
    else if (passed > this.cursor) this.cursor = Math.max(this.cursor, Math.min(passed, this.wakeAt - 1));
  }

  private schedule(now: number, slotAt: number): void {
    if (this.cancel !== null) {
      if (this.wakeAt <= slotAt) return;
      this.cancel();
    }
    this.wakeAt = slotAt;
    // At the boundary of the tick: a period from now would add its phase to the delay.
    this.cancel = this.clock.after(Math.max(1, Math.ceil(slotAt * this.tickMs - now)), this.onWake);
  }

  private readonly onWake = (): void => {
    this.cancel = null;
    this.advance();
    if (this.linked > 0) this.schedule(this.clock.now(), this.firstSlot());
  };

  /** The time of the first slot with a timer; there is one. */
  private firstSlot(): number {
    let at = this.cursor + 1;
    while (this.slots[at % SLOTS] === null) at++;
    return at;
  }

  private advance(): void {
    const target = this.passed();
    // After a long stall every slot is visited once; nothing waits further than a whole turn of the wheel.
    let steps = Math.min(target - this.cursor, SLOTS);
    if (steps < target - this.cursor) this.cursor = target - steps;
    this.advancing = true;
    for (; steps > 0; steps--) {
      this.cursor++;
      // Always from the head: a callback may release, or arm elsewhere, any of the others. `link` never picks this slot.
      const slot = this.cursor % SLOTS;
      for (let t = this.slots[slot] ?? null; t !== null && t.slotAt <= this.cursor; t = this.slots[slot] ?? null) this.due(t);
    }
    this.advancing = false;
  }

  private due(t: WheelTimer): void {
    this.unlink(t);
    if (!t.armed) return;
    const tick = this.tickOf(t.deadline);
    if (tick > this.cursor) {
      this.link(t, tick);
      return;
    }
    t.armed = false;
    try {
      t.owner.onTimer(t.kind);
    } catch (e) {
      this.onError(e);
    }
  }
}
