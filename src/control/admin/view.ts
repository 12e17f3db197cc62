/** The documents of the admin API, from the read model. */
import type { EndpointActivity } from '../../contract/channel.ts';
import { formatHostPort } from '../../contract/resources/units.ts';
import { dumpCertificate } from '../../contract/snapshot/index.ts';
import type { EndpointInfo, GroupId, GroupPart } from '../../contract/snapshot/parts.ts';
import type { Condition } from '../compile/index.ts';
import type { LaneGroup } from '../endpoints.ts';
import type { CheckedEndpoint, HealthFacts } from '../health/index.ts';
import { problemLine, type ReadModel } from '../report.ts';
import type { NameState } from '../sources/dns.ts';
import type { WorkerFacts } from '../life.ts';
import type { Document } from './api.ts';

export interface ViewSources {
  readonly model: () => ReadModel;
  readonly groups: () => ReadonlyMap<GroupId, LaneGroup>;
  readonly list: (id: GroupId) => readonly EndpointInfo[];
  readonly names: () => readonly NameState[];
  readonly check: (group: GroupPart, endpoint: CheckedEndpoint) => HealthFacts | null;
  readonly workers: () => readonly WorkerFacts[];
  /** Why so many. */
  readonly workersWhy: string;
  readonly memory: { readonly soft: number; readonly hard: number; readonly why: string };
  readonly phase: (number: number) => { readonly phase: string; readonly version: number };
  /** Client connections that a process has open, as it said last. */
  readonly connections: (number: number) => number;
  /** Has the workers say it. */
  readonly collect: () => Promise<void>;
  readonly activity: (add: (activity: EndpointActivity) => void) => Promise<void>;
  readonly now: () => number;
  readonly wall: () => number;
}

export interface AdminDocuments {
  config(): Document;
  upstreams(): Promise<Document>;
  listeners(): Document;
  certificates(): Document;
  workers(): Promise<Document>;
}

const iso = (ms: number): string | null => (ms > 0 ? new Date(ms).toISOString() : null);
const nameOf = (o: { readonly namespace: string; readonly name: string }): string => `${o.namespace}/${o.name}`;

/** Compile says what would serve, workers what does. */
const unprogrammed = (c: Condition, port: number, why: string): Condition =>
  c.type === 'Programmed' && c.status === 'True'
    ? { ...c, status: 'False', reason: 'AddressNotBound', message: `port ${port}: ${why}` }
    : c;

export const adminDocuments = (s: ViewSources): AdminDocuments => ({
  config: () => {
    const model = s.model();
    const { last } = model;
    return {
      version: model.version,
      appliedAt: iso(model.appliedAt),
      lastChange: last === null ? null : { result: last.result, at: iso(last.at), why: last.why, problems: last.problems.map(problemLine) },
      ...(model.snapshot() as Document),
    };
  },
  upstreams: async () => {
    const active = new Map<string, number>();
    await s.activity((a) => {
      const key = JSON.stringify([a.group, a.endpoint]);
      active.set(key, (active.get(key) ?? 0) + a.active);
    });
    return { groups: groupDocuments(s, active), names: s.names() };
  },
  listeners: () => {
    const model = s.model();
    const bound = new Map(model.addresses().map((a) => [a.listener, a.addresses]));
    const buffers = new Map(model.bound().map((b) => [nameOf(b), b.receiveBuffer]));
    const problems = model.loadProblems();
    const statuses = new Map(model.statuses('Listener').map((status) => [nameOf(status), status.conditions]));
    const parts = new Map(model.listenerParts().map((part) => [nameOf(part), part]));
    // What is not served has no part; why not is in its conditions.
    const names = [...parts.keys(), ...[...statuses.keys()].filter((name) => !parts.has(name))];
    return {
      listeners: names.map((name) => {
        const part = parts.get(name);
        const own = problems.filter((p) => p.listener === name);
        const unbound = own.find((p) => p.kind === 'bind');
        return {
          listener: name,
          port: part?.port ?? null,
          advertisedPort: part?.advertisedPort ?? null,
          hostnames: part?.hostnames ?? [],
          addresses: bound.get(name) ?? [],
          receiveBufferBytes: buffers.get(name) ?? null,
          conditions: (statuses.get(name) ?? []).map((c) =>
            unbound === undefined ? c : unprogrammed(c, part?.port ?? 0, unbound.message),
          ),
          problems: own,
        };
      }),
    };
  },
  certificates: () => {
    const { compiled } = s.model();
    const users = new Map<string, string[]>();
    for (const part of s.model().listenerParts()) {
      for (const hash of new Set(part.tls.entries.flatMap((entry) => entry.certificates)))
        users.set(hash, [...(users.get(hash) ?? []), nameOf(part)]);
    }
    return {
      certificates: [...(compiled?.parts ?? [])].flatMap(([hash, part]) =>
        part.kind === 'certificate'
          ? [{ ...dumpCertificate(part), listeners: users.get(hash) ?? [], expired: part.notAfter < s.wall() }]
          : [],
      ),
    };
  },
  workers: async () => {
    await s.collect();
    return {
      chosen: s.workersWhy,
      memory: { softLimitBytes: s.memory.soft, hardLimitBytes: s.memory.hard, chosen: s.memory.why },
      workers: s.workers().map((w) => ({
        worker: w.workerId,
        number: w.number,
        pid: w.pid,
        state: w.state,
        ...s.phase(w.number),
        engine: w.engine,
        engineVersion: w.engineVersion,
        restarts: w.restarts,
        upSeconds: w.state === 'up' ? Math.round((s.now() - w.startedAt) / 100) / 10 : 0,
        heartbeatAgeMs: Math.round(w.heartbeatAgeMs),
        loopDelayMs: Math.round(w.loopDelayMs * 10) / 10,
        memoryBytes: w.memory,
        connections: s.connections(w.number),
      })),
    };
  },
});

function* groupDocuments(s: ViewSources, active: ReadonlyMap<string, number>): Generator<unknown> {
  for (const [id, { source, refused }] of s.groups()) {
    yield {
      upstream: nameOf(source.upstream),
      backend: source.group.name,
      protocol: source.group.protocol,
      healthCheck: source.group.healthCheck !== null,
      endpoints: s.list(id).map((e) => ({
        endpoint: e.label,
        address: formatHostPort({ host: e.address, port: e.port }),
        host: e.host,
        weight: e.weight,
        healthy: e.healthy,
        draining: e.draining,
        active: active.get(JSON.stringify([id, e.label])) ?? 0,
        check: s.check(source.group, e),
      })),
      refused,
    };
  }
}
