/** `spooky explain --kubernetes`: the objects of a live cluster, listed once, and compiled as the controller does. */
import { objectKey, type Installation, type ResourceSet } from '../../contract/resources/index.ts';
import { hostMatches, normalisePattern } from '../../contract/routes/host.ts';
import type { ListenerPart, ObjectName } from '../../contract/snapshot/index.ts';
import { compile, type Compiled, type Condition, type ObjectStatus } from '../../control/compile/index.ts';
import { fieldsOf, isPort, mapsOf } from '../../control/sources/kubernetes/meta.ts';
import { readOnce, type Once } from '../../control/sources/kubernetes/once.ts';
import { connectApi } from '../cluster/connect.ts';
import type { ClusterFlags } from '../cluster/flags.ts';
import { remedyFor } from '../cluster/remedies.ts';
import { complete, grantText, openInstallation, type Completed, type Seen } from '../cluster/partial.ts';
import { EXIT, type CommandIo } from '../command.ts';
import type { Asked, Facts } from '../explaintext.ts';
import { printable } from '../printable.ts';
import { answer } from './answer.ts';
import { toldBeyond } from './told.ts';

export async function explainCluster(flags: ClusterFlags, asked: Asked, io: CommandIo): Promise<number> {
  const fail = (message: string): number => {
    io.stderr(`spooky explain: ${printable(message)}\n`);
    return EXIT.invalid;
  };
  const connected = await connectApi('explain', flags, io);
  if (!connected.ok) return fail(connected.error);
  const { api, namespace, failure } = connected.value;
  const installation = installationOf(flags, namespace);
  try {
    const once = await readOnce({ api, installation, namespaces: flags.namespaces, secrets: true, lenient: true });
    return once.ok ? explainOnce(once.value, flags, installation, asked, io) : fail(`${once.error}${remedyFor(failure())}`);
  } finally {
    api.close();
  }
}

/** Where the installation is nobody says: it is in one of the namespaces that are asked for. */
function installationOf({ class: className, namespaces, listenerNamespaces }: ClusterFlags, own: string): Installation {
  const namespace = listenerNamespaces?.[0] ?? namespaces?.[0] ?? own;
  return {
    ...openInstallation(className, namespace),
    listenerNamespaces: listenerNamespaces === null ? null : new Set(listenerNamespaces),
  };
}

function explainOnce(once: Once, flags: ClusterFlags, installation: Installation, asked: Asked, io: CommandIo): number {
  const scopes = flags.namespaces === null ? null : new Set([installation.namespace, ...flags.namespaces]);
  const completed = complete(once.state.set, (kind, namespace) => sees(once, scopes, kind, namespace), installation.className);
  const compiled = compile(completed.set, { standalone: false, installation });
  const notes = [
    ...refusedOf(once.state.set, compiled),
    ...notesOf(once, completed),
    ...(scopes === null ? [] : [`Only the namespaces ${[...scopes].join(', ')} were read.`]),
  ];
  if (compiled.listeners.length === 0) {
    io.stderr(`spooky explain: ${printable(noListener(once.state.set, compiled, installation.className))}\n`);
    return EXIT.invalid;
  }
  const facts = factsOf(once, completed, compiled);
  const text = answer(compiled, asked, facts, (listener) => portsOf(once, listener));
  io.stdout(`${[text, ...notes.map(printable)].join('\n').trimEnd()}\n`);
  return EXIT.ok;
}

/** What is not in an answer is not there, unless it was not asked for or not given. */
function sees({ unread }: Once, scopes: ReadonlySet<string> | null, kind: Seen, namespace: string): boolean {
  // Listeners that were not read do not count, as with the same flags of `serve`.
  if (kind === 'Listener') return true;
  if (unread.some((u) => u.kind === kind && (u.namespace === null || u.namespace === namespace))) return false;
  return kind === 'Namespace' || scopes === null || scopes.has(namespace);
}

const MEANS: ReadonlyMap<string, string> = new Map([
  ['Secret', 'which certificates are shown is not known, and their faults are not told'],
  ['ConfigMap', 'authorities for backends are taken to be right'],
  ['Namespace', 'a Listener that selects namespaces by labels is taken to select them all'],
  ['Service', 'backends are taken as they are written: whether a Service has the port, and what that speaks, is not known'],
  ['EndpointSlice', 'endpoints are not counted'],
  ['ReferenceGrant', 'references into other namespaces are taken to be granted'],
]);

/** Objects that are nowhere in the answer, since the schema or a rule refuses them as a whole: what they would do is not known. */
function refusedOf({ listeners, upstreams }: ResourceSet, { statuses }: Compiled): string[] {
  const lines = statuses
    .filter(({ kind, namespace, name, conditions }) => {
      const known = (kind === 'Listener' ? listeners : upstreams).has(objectKey(namespace, name));
      return !known || (kind === 'Listener' && conditions.some((c) => c.type === 'Accepted' && c.status === 'False'));
    })
    .map(({ kind, namespace, name, conditions }) => `${kind} ${namespace}/${name} is not served: ${badOf(conditions)[0] ?? ''}`);
  return lines.length <= MAX_NOTES ? lines : [...lines.slice(0, MAX_NOTES), `And ${lines.length - MAX_NOTES} more.`];
}

/** Lines of their own that say of many what one cannot hide. */
const MAX_NOTES = 20;

function notesOf({ unread, leftOut }: Once, { ungranted }: Completed): string[] {
  const notes = unread.map(({ kind, why }) => `${why}: ${MEANS.get(kind) ?? 'it is left out'}.`);
  const needed = new Set(ungranted.map((r) => `${r.from.kind} ${r.from.meta.namespace}/${r.from.meta.name} needs ${grantText(r)}.`));
  const all = [...notes, ...needed, ...leftOut.map((text) => `Left out: ${text}.`)];
  return all.length <= MAX_NOTES ? all : [...all.slice(0, MAX_NOTES), `And ${all.length - MAX_NOTES} more of these.`];
}

function noListener({ cluster }: ResourceSet, { statuses }: Compiled, className: string): string {
  const refused = statuses.find((s) => s.kind === 'Listener');
  if (refused !== undefined)
    return `there is no Listener of class ${className} that can be used: Listener ${refused.namespace}/${refused.name}: ${badOf(refused.conditions).join('; ')}`;
  const others = cluster?.foreignListeners.size ?? 0;
  return `there is no Listener of class ${className}${others === 0 ? '' : `; there are ${others} of other classes (--class)`}`;
}

/** Also those by which its controller says that clients reach it, and those of Services in front of it. */
function portsOf({ seen, state }: Once, { namespace, name, port, advertisedPort }: ListenerPart): number[] {
  const status = fieldsOf(seen({ kind: 'Listener', namespace, name })?.status);
  const published = mapsOf(status['addresses'], 256).flatMap((a) => (isPort(a['port']) ? [a['port']] : []));
  const services = [...(state.set.cluster?.services.values() ?? [])].filter((s) => s.meta.namespace === namespace);
  const inFront = services.flatMap((s) => s.ports.filter((p) => p.protocol === 'UDP' && p.targetPort === port));
  return [port, advertisedPort, ...published, ...inFront.flatMap((p) => [p.port, p.nodePort])];
}

function badOf(conditions: readonly Condition[]): string[] {
  return conditions
    .filter((c) => c.status !== (c.type === 'Conflicted' ? 'False' : 'True'))
    .map((c) => `${c.type} is ${c.status}: ${c.reason}${c.message === '' ? '' : `: ${c.message}`}`);
}

const keyOf = ({ namespace, name }: ObjectName): string => objectKey(namespace, name);

function factsOf(once: Once, { set, unseen }: Completed, { statuses }: Compiled): Facts {
  const known: Readonly<Record<ObjectStatus['kind'], Map<string, ObjectStatus>>> = { Listener: new Map(), Upstream: new Map() };
  for (const s of statuses) known[s.kind].set(objectKey(s.namespace, s.name), s);
  const upstreams = known.Upstream;
  // What compile says of references to what is out of sight is no news, nor that there is no certificate for it.
  const uncertain = new Set(unseen.map(({ from }) => `${from.kind} ${from.meta.namespace}/${from.meta.name}`));
  const counted = !once.unread.some((u) => u.kind === 'EndpointSlice');
  const bad = (kind: ObjectStatus['kind'], { namespace, name }: ObjectName, all: readonly Condition[]): string[] =>
    badOf(uncertain.has(`${kind} ${namespace}/${name}`) ? all.filter((c) => c.type !== 'ResolvedRefs' && c.type !== 'Programmed') : all);
  const judged = (upstream: ObjectName | null, listener: ObjectName): readonly [ObjectStatus, readonly Condition[]] | null => {
    const status = upstream === null ? known.Listener.get(keyOf(listener)) : upstreams.get(keyOf(upstream));
    if (status === undefined) return null;
    const here = status.listeners?.find((l) => l.namespace === listener.namespace && l.name === listener.name);
    return [status, here?.conditions ?? status.conditions];
  };
  const faults: Facts['conditions'] = (upstream, listener) => {
    const found = judged(upstream, listener);
    return found === null ? [] : bad(found[0].kind, found[0], found[1]);
  };
  const told: Facts['conditions'] = (upstream, listener) => {
    const found = judged(upstream, listener);
    return found === null
      ? []
      : badOf(toldBeyond(found[1], found[0].kind, once.seen(found[0]), listener)).map((text) => `its status says ${text}`);
  };
  return {
    conditions: (upstream, listener) => [...faults(upstream, listener), ...told(upstream, listener)],
    endpoints: (service) => {
      if (!counted) return '';
      const { ready, total } = once.endpoints.counts(service);
      return `${ready} of ${total} endpoints ready`;
    },
    certificates: ({ namespace, name }) => !uncertain.has(`Listener ${namespace}/${name}`),
    absent: (host, listener, served) =>
      Array.from(set.upstreams.values(), (u) => ({ meta: u.meta, hostnames: u.spec.hostnames }))
        .filter(({ meta, hostnames }) => !served.has(objectKey(meta.namespace, meta.name)) && names(hostnames, host))
        .map(({ meta }): ObjectName => ({ namespace: meta.namespace, name: meta.name }))
        .filter((u) => concerns(upstreams.get(keyOf(u)), listener) && faults(u, listener).length > 0),
  };
}

const names = (hostnames: readonly string[], host: string): boolean =>
  hostnames.some((raw) => {
    const pattern = normalisePattern(raw);
    return pattern !== null && hostMatches(pattern, host);
  });

/** It asked for this Listener, or for none in particular. */
const concerns = (status: ObjectStatus | undefined, { namespace, name }: ObjectName): boolean => {
  const asked = status?.listeners ?? [];
  return status !== undefined && (asked.length === 0 || asked.some((l) => l.namespace === namespace && l.name === name));
};
