import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto';

/**
 * Connection ids of 17 bytes: the single-pass form of draft-ietf-quic-load-balancers, a server id of 4 bytes and a nonce of 12.
 *
 *     octet 0        3 bits key rotation, 5 bits worker mod 32, in clear: a classic BPF program can steer by it
 *     octets 1..16   AES-128-ECB( node u32 | worker u8 | slot u24 | generation u24 | sequence u8 | random u32 )
 *
 * Sequence and random part make every id of one connection different; slot and generation name it inside its worker.
 */
export const CID_LENGTH = 17;

/** Never a slot of a connection: ids that a Retry hands out before there is one. */
export const NO_SLOT = 0xffffff;
export const MAX_SLOTS = 0xffffff;

const U24 = 0x1000000;

export interface CidParts {
  rotation: number;
  nodeId: number;
  workerId: number;
  slot: number;
  generation: number;
  sequence: number;
}

/** What names a connection above the seam: a safe integer. */
export function connKey(slot: number, generation: number): number {
  return slot + generation * U24;
}

export class CidCodec {
  readonly nodeId: number;
  readonly workerId: number;
  readonly rotation: number;
  /** What `decode` found last: read it before the next call. */
  readonly found: CidParts = { rotation: 0, nodeId: 0, workerId: 0, slot: 0, generation: 0, sequence: 0 };
  private readonly seal;
  private readonly open;
  private readonly block = Buffer.alloc(16);
  private readonly random = Buffer.alloc(1024);
  private randomAt = 1024;

  constructor(key: Uint8Array, nodeId: number, workerId: number, rotation = 0) {
    if (key.length !== 16) throw new RangeError('cid.key: 16 bytes wanted');
    if (!Number.isInteger(nodeId) || nodeId < 0 || nodeId > 0xffffffff) throw new RangeError('cid.nodeId: not an unsigned 32-bit integer');
    if (!Number.isInteger(workerId) || workerId < 0 || workerId > 255) throw new RangeError('cid.workerId: not 0 to 255');
    if (!Number.isInteger(rotation) || rotation < 0 || rotation > 7) throw new RangeError('cid.rotation: not 0 to 7');
    this.nodeId = nodeId;
    this.workerId = workerId;
    this.rotation = rotation;
    // One object for all ids: a fresh one costs three times the block.
    this.seal = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
    this.open = createDecipheriv('aes-128-ecb', key, null).setAutoPadding(false);
  }

  /** A new id, owned by the caller. `random` is given in tests only. */
  encode(slot: number, generation: number, sequence: number, random = this.draw()): Buffer {
    const b = this.block;
    b.writeUInt32BE(this.nodeId, 0);
    b[4] = this.workerId;
    b.writeUIntBE(slot, 5, 3);
    b.writeUIntBE(generation, 8, 3);
    b[11] = sequence & 0xff;
    b.writeUInt32BE(random, 12);
    const out = Buffer.allocUnsafeSlow(CID_LENGTH);
    out[0] = (this.rotation << 5) | (this.workerId & 31);
    this.seal.update(b).copy(out, 1);
    return out;
  }

  /** Whether the 17 bytes at `at` are an id that a worker of this node gave out; fills `found` when they are. */
  decode(buf: Uint8Array, at: number): boolean {
    const first = buf[at] as number;
    if (first >> 5 !== this.rotation) return false;
    const b = this.open.update(buf.subarray(at + 1, at + CID_LENGTH));
    const worker = b[4] as number;
    if (b.readUInt32BE(0) !== this.nodeId || (worker & 31) !== (first & 31)) return false;
    const f = this.found;
    f.rotation = first >> 5;
    f.nodeId = this.nodeId;
    f.workerId = worker;
    f.slot = b.readUIntBE(5, 3);
    f.generation = b.readUIntBE(8, 3);
    f.sequence = b[11] as number;
    return true;
  }

  private draw(): number {
    if (this.randomAt === this.random.length) {
      randomFillSync(this.random);
      this.randomAt = 0;
    }
    const value = this.random.readUInt32BE(this.randomAt);
    this.randomAt += 4;
    return value;
  }
}

/**
 * Slots of connections, reused oldest first, each with its own generation; generations start at random, so that a restarted
 * process does not take the ids of its predecessor for its own but resets them.
 */
export class SlotPool {
  private readonly first: number;
  private readonly generations: number[] = [];
  private readonly limit: number;
  private freed: number[] = [];
  private freedAt = 0;

  constructor(firstGeneration: number, limit = MAX_SLOTS) {
    this.first = firstGeneration % U24;
    this.limit = Math.min(limit, MAX_SLOTS);
  }

  /** A slot, or -1 when all are taken. */
  take(): number {
    if (this.freedAt < this.freed.length) {
      const slot = this.freed[this.freedAt++] as number;
      if (this.freedAt > 1024 && this.freedAt * 2 > this.freed.length) {
        this.freed = this.freed.slice(this.freedAt);
        this.freedAt = 0;
      }
      this.generations[slot] = ((this.generations[slot] as number) + 1) % U24;
      return slot;
    }
    if (this.generations.length >= this.limit) return -1;
    this.generations.push(this.first);
    return this.generations.length - 1;
  }

  generation(slot: number): number {
    return this.generations[slot] as number;
  }

  give(slot: number): void {
    this.freed.push(slot);
  }
}
