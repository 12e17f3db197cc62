import { CID_LENGTH } from '../cid.ts';
import type { Conn } from './conn.ts';

class Entry {
  readonly id: Uint8Array;
  readonly conn: Conn;

  constructor(id: Uint8Array, conn: Conn) {
    this.id = id;
    this.conn = conn;
  }
}

/**
 * Connections by the ids that we gave out. The key is four octets of the encrypted part: only we choose ids, so nobody can make
 * them collide, and a small integer costs a fraction of a string or of decrypting the id.
 */
export class IdTable {
  private readonly entries = new Map<number, Entry>();

  get size(): number {
    return this.entries.size;
  }

  find(buf: Uint8Array, at: number): Conn | null {
    const e = this.entries.get(keyAt(buf, at));
    if (e === undefined) return null;
    const id = e.id;
    for (let i = 0; i < CID_LENGTH; i++) if (id[i] !== buf[at + i]) return null;
    return e.conn;
  }

  /** The key to remove it by, or null when another id has it: draw again. */
  add(id: Uint8Array, conn: Conn): number | null {
    const key = keyAt(id, 0);
    if (this.entries.has(key)) return null;
    this.entries.set(key, new Entry(id, conn));
    return key;
  }

  has(id: Uint8Array): boolean {
    return this.entries.has(keyAt(id, 0));
  }

  remove(key: number): void {
    this.entries.delete(key);
  }
}

function keyAt(buf: Uint8Array, at: number): number {
  return ((buf[at + 1] as number) << 24) | ((buf[at + 2] as number) << 16) | ((buf[at + 3] as number) << 8) | (buf[at + 4] as number);
}
