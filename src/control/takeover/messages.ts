/**
 * What a running process tree and one that takes over from it say to each other, a JSON object a line:
 *
 *     new                                       old
 *     take      who I am             -->
 *                                    <--        offer      keys, numbers, folder; it goes on as before
 *     (workers start and bind)
 *     serving   all workers serve    -->        closes metrics, admin API and the socket
 *                                    <--        released
 *     (binds them)
 *     ready                          -->        new connections are the new one's from now on
 *                                    <--        handed     and drains
 *     succeed   other numbers        -->        (whenever another one takes over from the new one)
 *
 * `refuse` instead of an answer says why not. The old one decides, once: what ends before it has read `ready`, or comes too late, leaves it as it
 * was, and the new one, which waits for as long as that takes, hears which of the two it is. So there are never two that serve for good, nor none.
 *
 * One that could not take over, and drains, asks whoever listens at the socket by then, on a connection of its own:
 *
 *     follow    in which folder      -->
 *                                    <--        succeed    numbers of those who take newcomers, and again whenever that are others
 *
 * To a process of a version without `follow` it is a stranger, whose connection is closed.
 */
import { isAbsolute } from 'node:path';

export const PROTOCOL = 1;
export const MAX_LINE = 64 * 1024;

export interface Take {
  readonly type: 'take';
  readonly protocol: number;
  readonly pid: number;
  readonly version: string;
}

export interface Offer {
  readonly type: 'offer';
  readonly pid: number;
  readonly version: string;
  readonly installationKey: Uint8Array;
  readonly nodeId: number;
  /** Where the workers hand datagrams to each other. */
  readonly folder: string;
  /** Its name: engines hand over in ways of their own. */
  readonly engine: string;
  /** Of all workers that still serve anybody, also those of trees before. */
  readonly numbers: readonly number[];
  /** Of these, the ones of its own workers, who take new connections. */
  readonly own: readonly number[];
  /** UDP ports that are bound. */
  readonly ports: readonly number[];
}

export interface Follow {
  readonly type: 'follow';
  readonly protocol: number;
  /** Whose workers are meant: numbers of another folder are others'. */
  readonly folder: string;
}

export type FromNew =
  Take | Follow | { readonly type: 'serving' | 'succeed'; readonly numbers: readonly number[] } | { readonly type: 'ready' };

export type FromOld =
  | Offer
  | { readonly type: 'refuse'; readonly why: string }
  | { readonly type: 'released' | 'handed' }
  | { readonly type: 'succeed'; readonly numbers: readonly number[] };

type Json = Readonly<Record<string, unknown>>;

const MAX_WHY = 500;

export function encode(message: FromNew | FromOld): string {
  const key = message.type === 'offer' ? { installationKey: Buffer.from(message.installationKey).toString('base64') } : {};
  return `${JSON.stringify({ ...message, ...key })}\n`;
}

/** null: nothing that a new tree says. */
export function fromNew(json: Json): FromNew | null {
  switch (json['type']) {
    case 'take': {
      const { protocol, pid, version } = json;
      return isWhole(protocol, 1, 1e6) && isWhole(pid, 1, 2 ** 31) && isText(version, 100)
        ? { type: 'take', protocol, pid, version }
        : null;
    }
    case 'follow': {
      const { protocol, folder } = json;
      return isWhole(protocol, 1, 1e6) && isFolder(folder) ? { type: 'follow', protocol, folder } : null;
    }
    case 'serving':
    case 'succeed':
      return numbersOf(json['type'], json['numbers']);
    case 'ready':
      return { type: 'ready' };
    default:
      return null;
  }
}

/** null: nothing that an old tree says. */
export function fromOld(json: Json): FromOld | null {
  switch (json['type']) {
    case 'offer':
      return offerOf(json);
    case 'refuse':
      return isText(json['why'], MAX_WHY) ? { type: 'refuse', why: json['why'] } : null;
    case 'released':
    case 'handed':
      return { type: json['type'] };
    case 'succeed':
      return numbersOf('succeed', json['numbers']);
    default:
      return null;
  }
}

function numbersOf<T extends string>(type: T, numbers: unknown): { readonly type: T; readonly numbers: readonly number[] } | null {
  return isList(numbers, 255) && numbers.length > 0 ? { type, numbers } : null;
}

function offerOf(json: Json): Offer | null {
  const { pid, version, installationKey: key, nodeId, folder, engine, numbers, own, ports } = json;
  if (!isWhole(pid, 1, 2 ** 31) || !isText(version, 100) || !isWhole(nodeId, 0, 2 ** 32 - 1)) return null;
  if (!isFolder(folder) || !isText(engine, 100)) return null;
  if (!isList(numbers, 255) || !isList(own, 255) || !isList(ports, 65_535)) return null;
  if (!isText(key, 8192)) return null;
  const installationKey = new Uint8Array(Buffer.from(key, 'base64'));
  if (installationKey.length < 32) return null;
  return { type: 'offer', pid, version, installationKey, nodeId, folder, engine, numbers, own, ports };
}

function isWhole(value: unknown, low: number, high: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high;
}

function isText(value: unknown, most: number): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= most && !value.includes('\0');
}

function isFolder(value: unknown): value is string {
  return isText(value, 4096) && isAbsolute(value);
}

function isList(value: unknown, high: number): value is number[] {
  return Array.isArray(value) && value.length <= 65_536 && value.every((n) => isWhole(n, 0, high));
}
