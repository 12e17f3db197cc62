/**
 * Every message between the main process and a worker. `fork` with `serialization: 'advanced'` carries them; none is larger than 64 KiB:
 * longer byte strings are cut into `chunk`s.
 */
import type { RowReading } from './cells.ts';
import type { EndpointList, GroupId, PartHash } from './snapshot/parts.ts';

export const MESSAGE_BYTES = 64 * 1024;

/** What a worker needs before its first snapshot. Keys are raw bytes: the channel is private to the process tree. */
export interface WorkerStart {
  readonly workerId: number;
  readonly workers: number;
  readonly nodeId: number;
  readonly installationKey: Uint8Array;
  /**
   * Where workers of this node hand datagrams to each other, also to those of a process tree that takes over. Sockets share their addresses then.
   * null: this worker is alone, and stays so.
   */
  readonly handover: { readonly folder: string } | null;
  readonly engine: 'auto' | 'native' | 'matrixai';
  readonly udpReceiveBuffer: number;
  readonly udpSendBuffer: number;
  readonly accessLog: 'off' | 'errors' | 'all';
  readonly metricsDetail: 'listener' | 'upstream' | 'endpoint';
  readonly endpointDeny: readonly string[];
  /** Standalone may reach loopback endpoints. */
  readonly allowLoopbackEndpoints: boolean;
  readonly logLevel: string;
  /** It says what is to be said once for all workers. */
  readonly speaks: boolean;
}

/** Connections of a socket, by its `socketName`. */
export interface SocketShare {
  readonly socket: string;
  readonly connections: number;
}

export interface BoundListener {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  readonly receiveBuffer: number;
}

/** A part or listener that this worker cannot serve, as data. */
export interface LoadProblem {
  readonly kind: 'bind' | 'certificate' | 'part';
  readonly listener: string;
  /** `EADDRINUSE`, `EACCES`, ... for bind. */
  readonly code: string;
  readonly message: string;
}

export interface EndpointActivity {
  readonly group: string;
  readonly endpoint: string;
  readonly active: number;
}

export type ToWorker =
  | { readonly type: 'start'; readonly start: WorkerStart }
  /** Bytes of a part that the worker lacks, in order; complete with `last`. */
  | { readonly type: 'chunk'; readonly hash: PartHash; readonly last: boolean; readonly bytes: Uint8Array }
  /** Whole parts, as many as fit: most are small, and a message each would cost more than they do. */
  | { readonly type: 'parts'; readonly parts: readonly { readonly hash: PartHash; readonly bytes: Uint8Array }[] }
  /** All parts were sent: build everything for this root, bind what is new, change nothing that serves. */
  | {
      readonly type: 'load';
      readonly version: number;
      readonly listeners: readonly PartHash[];
      /** Of these, listeners whose address somebody else has: not to be bound, though sharing it might succeed. */
      readonly taken: readonly PartHash[];
    }
  | { readonly type: 'switch'; readonly version: number }
  /** Parts that the version switched to does not need: they are sent again should another one need them. */
  | { readonly type: 'forget'; readonly hashes: readonly PartHash[] }
  /** Lists of groups that the version switched to does not have: sent again as the parts are. */
  | { readonly type: 'forgetLists'; readonly groups: readonly GroupId[] }
  | { readonly type: 'endpoints'; readonly lists: readonly EndpointList[] }
  /** A list that is longer than a message: it holds from its last piece on. */
  | { readonly type: 'piece'; readonly piece: EndpointList; readonly last: boolean }
  | { readonly type: 'cells'; readonly id: number }
  | { readonly type: 'activity'; readonly id: number }
  /** From now on so many connections may be open here at these sockets: at one that was never named, none. Answered with `shared`. */
  | { readonly type: 'shares'; readonly id: number; readonly shares: readonly SocketShare[] }
  /** From now on these workers take what would begin a connection here. */
  | { readonly type: 'succeed'; readonly workers: readonly number[] }
  | { readonly type: 'level'; readonly logLevel: string }
  | { readonly type: 'drain'; readonly timeoutMs: number }
  | { readonly type: 'exit' };

export type FromWorker =
  | { readonly type: 'hello'; readonly engine: string; readonly engineVersion: string; readonly fallback: boolean; readonly why: string }
  | {
      readonly type: 'loaded';
      readonly version: number;
      readonly bound: readonly BoundListener[];
      readonly problems: readonly LoadProblem[];
    }
  /** By a defect nothing was loaded: what served before serves on. */
  | { readonly type: 'notLoaded'; readonly version: number; readonly why: string }
  | { readonly type: 'switched'; readonly version: number }
  /** The shares of that message hold; at their sockets there were so many connections at that moment, those in their handshake included. */
  | { readonly type: 'shared'; readonly id: number; readonly uses: readonly SocketShare[] }
  /** Resident memory, in bytes. */
  | { readonly type: 'heartbeat'; readonly delayMs: number; readonly memory: number }
  /** Rows since the start of the process, in slices; complete with `last`. */
  | { readonly type: 'cells'; readonly id: number; readonly rows: readonly RowReading[]; readonly last: boolean }
  | { readonly type: 'activity'; readonly id: number; readonly endpoints: readonly EndpointActivity[]; readonly last: boolean }
  | { readonly type: 'log'; readonly level: string; readonly msg: string; readonly fields: Readonly<Record<string, unknown>> }
  /** Whole lines of the access log, batched. */
  | { readonly type: 'access'; readonly lines: string }
  | { readonly type: 'drained' }
  | { readonly type: 'fault'; readonly message: string };
