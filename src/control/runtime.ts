/**
 * The folder in which the workers of this node find each other, of one process tree, or of several while one takes over from another. A socket
 * in it says that a tree lives: the kernel refuses connections to those of the dead, in whatever process namespace they were.
 */
import { randomBytes } from 'node:crypto';
import { lstatSync, lutimesSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { basename, join } from 'node:path';
import { systemClock, type Clock } from '../lib/clock.ts';

const PREFIX = 'spooky-';
/** As mkdtemp makes them. */
const OURS = /^spooky-[A-Za-z0-9]{6}$/;
const LIFE = 'tree-';
/** Bound, and perhaps not listening yet: refused like the socket of a dead tree. */
const UNBORN = 'born-';
/** What is made in one: marks of life, sockets of workers, and files that name ports, also half written ones. */
const CONTENT = /^((tree|born)-[0-9a-f]{8}|\d{1,3}-[0-9a-f]{16}(\.udp(\.\d+)?)?)$/;
/** What others find a worker by: its socket, or a file that names a port and, last, its process. */
const WORKER = /^(\d{1,3})-[0-9a-f]{16}(?:\.udp)?$/;
const PORT_FILE = '.udp';
/** The longest name that anything in it has: a worker's number and a listener. */
const LONGEST = '/255-0123456789abcdef';
/** What fits into `sun_path`, with its NUL. */
const MAX_SOCKET_PATH = 107;
/** Whoever makes a folder says a moment later that it lives. */
const YOUNG_MS = 60_000;
const KNOCK_MS = 1000;
/** What cleans up /tmp removes what nobody has touched for days, and so sockets that it does not know as such: by another name than they were bound to. */
const TOUCH_MS = 3_600_000;

export class RuntimeFolder {
  readonly path: string;
  private life: Life;
  private readonly clock: Clock;
  private cancel = (): void => {};
  /** A mark of life under way. */
  private living: Promise<void> = Promise.resolve();

  private constructor(path: string, life: Life, clock: Clock) {
    this.path = path;
    this.life = life;
    this.clock = clock;
    this.touchSoon();
  }

  /** Makes one below `parent`, and removes what the dead have left there. Rejects with what is wrong. */
  static async create(parent: string, clock: Clock = systemClock): Promise<RuntimeFolder> {
    const length = Buffer.byteLength(`${parent}/${PREFIX}XXXXXX${LONGEST}`);
    if (length > MAX_SOCKET_PATH)
      throw new Error(`${parent} is too long for the sockets in it: ${length - MAX_SOCKET_PATH} bytes less would do`);
    await sweep(parent);
    const path = mkdtempSync(join(parent, PREFIX));
    try {
      return await RuntimeFolder.join(path, clock);
    } catch (e) {
      clear(path);
      throw e;
    }
  }

  /** Enters that of another tree. */
  static async join(path: string, clock: Clock = systemClock): Promise<RuntimeFolder> {
    if (!isOurs(path)) throw new Error(`${path} is no folder of ours`);
    return new RuntimeFolder(path, await live(path), clock);
  }

  /** Makes it anew where somebody has removed it, for those who begin; who began before is found no more. Whether that was so. */
  restore(): boolean {
    if (lstatSync(this.path, { throwIfNoEntry: false }) !== undefined) return false;
    try {
      mkdirSync(this.path, { recursive: true, mode: 0o700 });
    } catch {
      // Whoever needs it says what is wrong.
      return false;
    }
    const { server } = this.life;
    this.living = live(this.path).then(
      (life) => {
        this.life = life;
        server.close();
      },
      () => {},
    );
    return true;
  }

  /** What a worker that is gone has left; its number may be given to another one. */
  forget(worker: number): void {
    for (const name of names(this.path)) if (name.startsWith(`${worker}-`)) remove(join(this.path, name));
  }

  /** The numbers of workers that can be found in it, of whatever tree. */
  async workers(): Promise<number[]> {
    const found = new Set<number>();
    for (const name of names(this.path)) {
      const number = Number(WORKER.exec(name)?.[1] ?? -1);
      if (number < 0 || found.has(number)) continue;
      const path = join(this.path, name);
      if (name.endsWith(PORT_FILE) ? isOfTheLiving(path) : await answers(path)) found.add(number);
    }
    return [...found];
  }

  /** The last one takes the folder along. */
  async leave(): Promise<void> {
    this.cancel();
    await this.living;
    remove(this.life.mark);
    await new Promise<void>((done) => this.life.server.close(() => done()));
    if (!(await inhabited(this.path))) clear(this.path);
  }

  private touchSoon(): void {
    this.cancel = this.clock.after(TOUCH_MS, () => {
      for (const name of names(this.path)) touch(join(this.path, name));
      this.touchSoon();
    });
  }
}

async function sweep(parent: string): Promise<void> {
  for (const name of readdirSync(parent)) {
    const path = join(parent, name);
    if (isOurs(path) && (await abandoned(path))) clear(path);
  }
}

async function abandoned(path: string): Promise<boolean> {
  const found = names(path);
  // A folder of somebody may bear such a name as well: `spooky-config`.
  if (!found.every((name) => CONTENT.test(name))) return false;
  if (!found.some((name) => name.startsWith(LIFE))) return Date.now() - (modified(path) ?? Infinity) > YOUNG_MS;
  return !(await inhabited(path));
}

async function inhabited(path: string): Promise<boolean> {
  for (const name of names(path)) if (name.startsWith(LIFE) && (await answers(join(path, name)))) return true;
  return false;
}

/** Whether anybody takes the connection; a full queue means that somebody is there, and so does a socket of datagrams. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (is: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(is);
    };
    const timer = setTimeout(end, KNOCK_MS, true);
    socket.once('connect', () => end(true));
    socket.once('error', (e: NodeJS.ErrnoException) => end(e.code !== 'ECONNREFUSED' && e.code !== 'ENOENT'));
  });
}

function isOfTheLiving(portFile: string): boolean {
  try {
    const pid = Number(/ ([1-9]\d{0,9})\n$/.exec(readFileSync(portFile, 'latin1'))?.[1]);
    return Number.isInteger(pid) && process.kill(pid, 0);
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === 'EPERM';
  }
}

interface Life {
  readonly mark: string;
  readonly server: Server;
}

/** It gets the name by which others judge when it listens. */
async function live(folder: string): Promise<Life> {
  const id = randomBytes(4).toString('hex');
  const [unborn, mark] = [join(folder, `${UNBORN}${id}`), join(folder, `${LIFE}${id}`)];
  const server = await listening(unborn);
  try {
    renameSync(unborn, mark);
  } catch (e) {
    server.close();
    throw e;
  }
  return { mark, server };
}

function listening(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  server.unref();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      server.on('error', () => {});
      resolve(server);
    });
  });
}

/** Never more than what is made in a folder of ours: whatever else is there keeps it, too. */
function clear(path: string): void {
  for (const name of names(path)) if (CONTENT.test(name)) remove(join(path, name));
  try {
    rmdirSync(path);
  } catch {
    // Somebody has put something there, or was quicker.
  }
}

/** By its name, and as mkdtemp makes them: nobody else may enter. */
function isOurs(path: string): boolean {
  if (!OURS.test(basename(path))) return false;
  try {
    const stat = lstatSync(path);
    return stat.isDirectory() && stat.uid === process.geteuid?.() && (stat.mode & 0o077) === 0;
  } catch {
    return false;
  }
}

function names(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function modified(path: string): number | null {
  try {
    return lstatSync(path).mtimeMs;
  } catch {
    return null;
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Its owner was quicker.
  }
}

function touch(path: string): void {
  const now = new Date();
  try {
    lutimesSync(path, now, now);
  } catch {
    // Gone meanwhile.
  }
}
