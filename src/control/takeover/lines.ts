/** A connection that carries a JSON object a line, each waited for with a time limit. */
import type { Socket } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { encode, MAX_LINE, type FromNew, type FromOld } from './messages.ts';

/** `closed`: the other one is gone; `broken`: it said what nobody understands; `late`: it said nothing. Nothing more is heard then, but can be said. */
export type Silence = 'closed' | 'broken' | 'late';

/** What has come by now is heard first: after a long standstill it lies unread, and timers are due before it is read. */
export const unreadFirst = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

/** How many messages may lie unread. */
const MAX_WAITING = 16;

export class Lines<Said extends FromNew | FromOld> {
  /** Resolves when the connection has ended. */
  readonly closed: Promise<void>;
  private readonly socket: Socket;
  private readonly clock: Clock;
  private readonly parse: (json: Readonly<Record<string, unknown>>) => Said | null;
  private readonly waiting: Said[] = [];
  private buffer = '';
  private readonly types = new Set<Said['type']>();
  private over: Silence | null = null;
  private wake: (() => void) | null = null;

  constructor(socket: Socket, clock: Clock, parse: (json: Readonly<Record<string, unknown>>) => Said | null) {
    this.socket = socket;
    this.clock = clock;
    this.parse = parse;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.receive(text));
    // `close` follows.
    socket.on('error', () => {});
    socket.on('end', () => this.end('closed'));
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.end('closed');
        resolve();
      });
    });
  }

  /** Nothing more is heard, whatever was heard before. */
  get isOver(): boolean {
    return this.over !== null;
  }

  /** Whether it was said at all, read or not. */
  heard(type: Said['type']): boolean {
    return this.types.has(type);
  }

  send(message: FromNew | FromOld): void {
    if (this.socket.writable) this.socket.write(encode(message));
  }

  /** With `null` for as long as it takes. */
  async next(ms: number | null): Promise<Said | Silence> {
    if (this.waiting.length === 0 && this.over === null) await this.news(ms);
    const said = this.waiting.shift();
    if (said !== undefined) return said;
    if (this.over === null) this.end('late');
    return this.over as unknown as Silence;
  }

  /** What was sent still leaves. */
  close(): void {
    this.socket.end();
    // Whoever does not close its end must not keep ours.
    this.clock.after(1000, () => this.socket.destroy());
  }

  private news(ms: number | null): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        if (this.wake === done) this.wake = null;
        resolve();
      };
      const cancel = ms === null ? () => {} : this.clock.after(ms, () => void unreadFirst().then(done));
      this.wake = done;
    });
  }

  private receive(text: string): void {
    if (this.over !== null) return;
    this.buffer += text;
    for (let end = this.buffer.indexOf('\n'); end >= 0; end = this.buffer.indexOf('\n')) {
      const said = this.read(this.buffer.slice(0, end));
      this.buffer = this.buffer.slice(end + 1);
      if (said === null || this.waiting.length >= MAX_WAITING) return this.end('broken');
      this.waiting.push(said);
      this.types.add(said.type);
    }
    if (this.buffer.length > MAX_LINE) return this.end('broken');
    if (this.waiting.length > 0) this.wake?.();
  }

  private read(line: string): Said | null {
    if (line.length > MAX_LINE) return null;
    try {
      const json: unknown = JSON.parse(line);
      return typeof json === 'object' && json !== null ? this.parse(json as Readonly<Record<string, unknown>>) : null;
    } catch {
      return null;
    }
  }

  private end(why: Silence): void {
    this.over ??= why;
    this.wake?.();
  }
}
