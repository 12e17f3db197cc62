import type { Addon, Opened, Turn } from '../../../../src/edge/quic/native/binding.ts';
import { ABI, RECORD_BYTES } from '../../../../src/edge/quic/native/records.ts';

/** One command as the addon would read it. */
export interface Command {
  readonly kind: number;
  readonly slot: number;
  readonly generation: number;
  readonly id: bigint;
  readonly code: bigint;
  readonly bytes: Buffer;
  readonly flags: number;
}

export interface Event {
  readonly kind: number;
  readonly slot?: number;
  readonly generation?: number;
  readonly id?: bigint;
  /** In the place of the span. */
  readonly code?: bigint;
  readonly bytes?: Uint8Array;
  readonly flags?: number;
}

/** Of the command buffers. */
export interface FakeSizes {
  readonly records: number;
  readonly data: number;
}

/** An endpoint of the fake: what it was told, and buffers that hold garbage before every use. */
export class FakeEndpoint {
  readonly options: Record<string, unknown>;
  readonly turn: Turn;
  readonly fault: (message: string) => void;
  readonly commands: Command[] = [];
  /** What was called, in its order: 'submit', 'flush', 'drain', ... */
  readonly calls: string[] = [];
  readonly opened: Opened;
  /** Called by `close`, before it returns. */
  onClose: () => void = () => {};
  dead = '';
  info = 'null';
  stats = '{}';
  connStats: readonly number[] | null = null;
  stuck: number[] = [];

  constructor(handle: number, options: string, turn: Turn, fault: (message: string) => void, sizes: FakeSizes) {
    this.options = JSON.parse(options) as Record<string, unknown>;
    this.turn = turn;
    this.fault = fault;
    this.opened = {
      handle,
      addresses: '[{"host":"127.0.0.1","port":4433}]',
      eventRecords: new ArrayBuffer(64 * RECORD_BYTES),
      eventData: new ArrayBuffer(64 * 1024),
      commandRecords: new ArrayBuffer(sizes.records * RECORD_BYTES),
      commandData: new ArrayBuffer(sizes.data),
    };
  }

  /** A batch: these events, and then whatever commands they led to. */
  play(...events: readonly Event[]): void {
    const records = new DataView(this.opened.eventRecords);
    const data = Buffer.from(this.opened.eventData);
    data.fill(0xee);
    let used = 0;
    events.forEach((e, i) => {
      const at = i * RECORD_BYTES;
      const id = e.id ?? 0n;
      const span = e.code ?? (BigInt(e.bytes?.length ?? 0) << 32n) | BigInt(used);
      if (e.bytes !== undefined) {
        data.set(e.bytes, used);
        used += e.bytes.length;
      }
      records.setUint32(at, e.kind, true);
      records.setUint32(at + 4, e.slot ?? 0, true);
      records.setUint32(at + 8, e.generation ?? 0, true);
      records.setBigUint64(at + 12, id, true);
      records.setBigUint64(at + 20, span, true);
      records.setUint32(at + 28, e.flags ?? 0, true);
    });
    this.run(this.turn(events.length));
  }

  run(count: number): void {
    const records = new DataView(this.opened.commandRecords);
    const data = Buffer.from(this.opened.commandData);
    for (let at = 0; at < count * RECORD_BYTES; at += RECORD_BYTES) {
      const offset = records.getUint32(at + 20, true);
      const length = records.getUint32(at + 24, true);
      this.commands.push({
        kind: records.getUint32(at, true),
        slot: records.getUint32(at + 4, true),
        generation: records.getUint32(at + 8, true),
        id: records.getBigUint64(at + 12, true),
        code: records.getBigUint64(at + 20, true),
        bytes: Buffer.from(data.subarray(offset, offset + length)),
        flags: records.getUint32(at + 28, true),
      });
    }
    // Whoever keeps a view of them sees garbage.
    new Uint8Array(this.opened.commandRecords).fill(0xee);
    data.fill(0xee);
  }

  called(name: string): void {
    if (this.dead !== '') throw new Error(`the endpoint is dead: ${this.dead}`);
    this.calls.push(name);
  }

  takeCommands(): Command[] {
    return this.commands.splice(0);
  }
}

/** The addon without quiche: events are played by hand, commands are kept. */
export class FakeAddon implements Addon {
  readonly endpoints: FakeEndpoint[] = [];
  private readonly sizes: FakeSizes;

  constructor(sizes: FakeSizes = { records: 64, data: 64 * 1024 }) {
    this.sizes = sizes;
  }

  get last(): FakeEndpoint {
    return this.endpoints.at(-1) as FakeEndpoint;
  }

  abi(): number {
    return ABI;
  }

  version(): string {
    return '0.30.0';
  }

  judge(): void {}

  open(options: string, turn: Turn, fault: (message: string) => void): Opened {
    const e = new FakeEndpoint(this.endpoints.length, options, turn, fault, this.sizes);
    this.endpoints.push(e);
    return e.opened;
  }

  dial(options: string, turn: Turn, fault: (message: string) => void): Opened {
    return this.open(options, turn, fault);
  }

  private at(handle: number, name: string): FakeEndpoint {
    const e = this.endpoints[handle];
    if (e === undefined) throw new Error('unknown handle');
    e.called(name);
    return e;
  }

  submit(handle: number, commands: number): void {
    this.at(handle, `submit ${commands}`).run(commands);
  }

  flush(handle: number, commands: number): void {
    this.at(handle, `flush ${commands}`).run(commands);
  }

  forward(handle: number, datagram: Uint8Array): void {
    this.at(handle, `forward ${datagram.length}`);
  }

  setTls(handle: number, json: string): void {
    this.at(handle, `setTls ${json}`);
  }

  setLimits(handle: number, json: string): void {
    this.at(handle, `setLimits ${json}`);
  }

  setRetry(handle: number, mode: string): void {
    this.at(handle, `setRetry ${mode}`);
  }

  setCongestion(handle: number, name: string): void {
    this.at(handle, `setCongestion ${name}`);
  }

  setKeys(handle: number, json: string): void {
    this.at(handle, `setKeys ${json}`);
  }

  succeed(handle: number, json: string): void {
    this.at(handle, `succeed ${json}`);
  }

  widen(handle: number, json: string): string {
    this.at(handle, `widen ${json}`);
    return JSON.stringify((JSON.parse(json) as { hosts: string[] }).hosts.map((host) => ({ host, port: 4433 })));
  }

  narrow(handle: number, json: string): void {
    this.at(handle, `narrow ${json}`);
  }

  drain(handle: number): void {
    this.at(handle, 'drain');
  }

  close(handle: number): void {
    const e = this.endpoints[handle] as FakeEndpoint;
    e.calls.push('close');
    e.onClose();
  }

  stats(handle: number): string {
    return this.at(handle, 'stats').stats;
  }

  info(handle: number, slot: number, generation: number): string {
    return this.at(handle, `info ${slot} ${generation}`).info;
  }

  connStats(handle: number, slot: number, generation: number): readonly number[] | null {
    return this.at(handle, `connStats ${slot} ${generation}`).connStats;
  }

  stuck(handle: number, slot: number, generation: number, ms: number): number[] {
    return this.at(handle, `stuck ${slot} ${generation} ${ms}`).stuck;
  }
}
