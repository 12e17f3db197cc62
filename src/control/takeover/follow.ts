/** The side of one that could not take over: as long as it drains it hears who takes newcomers. */
import type { Clock } from '../../lib/clock.ts';
import { reach } from './client.ts';
import { Lines } from './lines.ts';
import { fromOld, PROTOCOL, type FromOld } from './messages.ts';

/** Shorter than whoever was succeeded goes on to take newcomers: in between nobody may listen, and another one come. */
const PAUSE_MS = 200;

export interface FollowOptions {
  readonly path: string;
  /** Where its workers hand datagrams to those of others. */
  readonly folder: string;
  readonly clock: Clock;
  readonly hear: (numbers: readonly number[]) => void;
}

/** Until the end of the signal, or a refusal. Whoever ends has been succeeded by somebody who listens then, or will. */
export async function follow(o: FollowOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const socket = await reach(o.path, o.clock);
    if (socket.ok && socket.value !== null) {
      const lines = new Lines(socket.value, o.clock, fromOld);
      if (await refuses(lines, o, signal)) return;
    }
    await new Promise<void>((resolve) => o.clock.after(PAUSE_MS, resolve));
  }
}

async function refuses(lines: Lines<FromOld>, { folder, hear }: FollowOptions, signal: AbortSignal): Promise<boolean> {
  const leave = (): void => lines.close();
  signal.addEventListener('abort', leave);
  try {
    if (signal.aborted) return false;
    lines.send({ type: 'follow', protocol: PROTOCOL, folder });
    for (;;) {
      const said = await lines.next(null);
      if (signal.aborted || typeof said === 'string') return false;
      if (said.type === 'refuse') return true;
      if (said.type === 'succeed') hear(said.numbers);
    }
  } finally {
    signal.removeEventListener('abort', leave);
    leave();
  }
}
