/** The new tree's side. */
import { lstatSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import { Lines, unreadFirst, type Silence } from './lines.ts';
import { fromOld, PROTOCOL, type FromOld, type Offer } from './messages.ts';

const CONNECT_MS = 5000;
/** It may be starting itself. */
const OFFER_MS = 130_000;
const RELEASE_MS = 15_000;

export interface Who {
  readonly pid: number;
  readonly version: string;
}

/** What there is to take over; null when nobody listens at the socket, `gone` when somebody did and has ended. */
export async function askForTakeover(path: string, who: Who, clock: Clock): Promise<Result<Takeover | 'gone' | null, string>> {
  const socket = await reach(path, clock);
  if (!socket.ok) return socket;
  if (socket.value === null) return ok(null);
  const lines = new Lines(socket.value, clock, fromOld);
  lines.send({ type: 'take', protocol: PROTOCOL, ...who });
  const said = await lines.next(OFFER_MS);
  if (typeof said !== 'string' && said.type === 'offer') return ok(new Takeover(said, lines));
  lines.close();
  return said === 'closed' ? ok('gone') : err(`${path}: ${refusalOf(said)}`);
}

export class Takeover {
  readonly offer: Offer;
  /** Resolves when the old tree, and its numbers, are gone. */
  readonly gone: Promise<void>;
  private readonly lines: Lines<FromOld>;

  constructor(offer: Offer, lines: Lines<FromOld>) {
    this.offer = offer;
    this.lines = lines;
    this.gone = new Promise((resolve) => {
      void lines.closed.then(() => {
        // One that goes on is not gone.
        if (!lines.heard('refuse')) resolve();
      });
    });
  }

  /** All of ours serve. Resolves when the old one has given its addresses up; it may also have died meanwhile. */
  async serving(numbers: readonly number[]): Promise<Result<null, string>> {
    this.lines.send({ type: 'serving', numbers });
    const said = await this.lines.next(RELEASE_MS);
    if (said === 'closed' || (typeof said !== 'string' && said.type === 'released')) return ok(null);
    return err(refusalOf(said));
  }

  /**
   * What only one process can have is ours. Resolves when the old one has left its clients to us, or has died; with an error when it goes on, so
   * that we must not. For as long as it takes: one that is silent has not decided.
   */
  async ready(): Promise<Result<null, string>> {
    // Its refusal would be lost if writing to one that has hung up failed first.
    await unreadFirst();
    this.lines.send({ type: 'ready' });
    const said = await this.lines.next(null);
    if (said === 'closed' || (typeof said !== 'string' && said.type === 'handed')) return ok(null);
    return err(refusalOf(said));
  }

  /** A third tree takes over from us: the first one, as long as it drains, has to know. */
  succeed(numbers: readonly number[]): void {
    this.lines.send({ type: 'succeed', numbers });
  }

  /** Before `ready` that is to leave the old one as it was. */
  close(): void {
    this.lines.close();
  }
}

const SILENCES: Readonly<Record<Silence, string>> = {
  closed: 'whoever listens there has closed the connection',
  broken: 'whoever listens there is no spooky that can be taken over from',
  late: 'whoever listens there says nothing',
};

function refusalOf(said: FromOld | Silence): string {
  if (typeof said === 'string') return SILENCES[said];
  return said.type === 'refuse' ? said.why : `the running process said ${said.type} out of turn`;
}

/**
 * What is at the path, if it is not for us to ask or to replace. Of another user than ourselves and root: whoever answers there gives us the keys
 * that we serve with, and the folder that we work in.
 */
function obstacleAt(path: string): string | null {
  try {
    const found = [lstatSync, statSync].map((look) => look(path, { throwIfNoEntry: false }));
    for (const { uid } of found.filter((stats) => stats !== undefined))
      if (uid !== 0 && uid !== process.geteuid?.()) return `user ${uid}'s: it has to be this process's own user's`;
    const [itself, target] = found;
    if (itself === undefined) return null;
    if (target === undefined) return 'a link to what is not there';
    return target.isSocket() ? null : 'no socket: what is there stays';
  } catch {
    // What may not be looked at cannot be connected to either, which says why.
    return null;
  }
}

/** Whoever listens at the path; null when nobody does. */
export function reach(path: string, clock: Clock): Promise<Result<Socket | null, string>> {
  const obstacle = obstacleAt(path);
  if (obstacle !== null) return Promise.resolve(err(`${path} is ${obstacle}`));
  return new Promise((resolve) => {
    const socket = connect(path);
    const cancel = clock.after(CONNECT_MS, () => {
      socket.destroy();
      resolve(err(`${path}: nobody answers`));
    });
    socket.once('connect', () => {
      cancel();
      resolve(ok(socket));
    });
    socket.once('error', (e: NodeJS.ErrnoException) => {
      cancel();
      // The path of a process that was killed stays.
      resolve(e.code === 'ENOENT' || e.code === 'ECONNREFUSED' ? ok(null) : err(`${path}: ${e.message}`));
    });
  });
}
