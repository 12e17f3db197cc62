/** The text of `spooky explain` for one Listener. */
import { Cells } from '../contract/cells.ts';
import { hostMatches } from '../contract/routes/host.ts';
import type { Target } from '../contract/routes/path.ts';
import { buildTable } from '../contract/routes/table.ts';
import type { ExplainedRoute } from '../contract/routes/explain.ts';
import type {
  Balancing,
  CertificatePart,
  GroupPart,
  HostPart,
  ListenerPart,
  ObjectName,
  RoutePart,
  UpstreamPart,
} from '../contract/snapshot/index.ts';
import { TlsNames } from '../contract/tls.ts';
import { describeMatch, type Compiled, type GroupService, type GroupSource } from '../control/compile/index.ts';
import { Fields } from '../edge/http/fields.ts';
import { AddressList } from '../edge/proxy/addresslist.ts';
import { cleanRequest, DropCounter } from '../edge/proxy/headers.ts';

/** A request as the command line gives it. */
export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** `:path`, one character per octet. */
  readonly target: string;
  readonly names: readonly string[];
  readonly values: readonly string[];
  readonly from: string | null;
}

/** Others that are told one by one. */
const TOLD = 20;

/** What a cluster says of what compile knows by name only. */
export interface Facts {
  /** `2 of 3 endpoints ready`; '' when it is not known. */
  endpoints(service: GroupService): string;
  /** Whether every certificate of the Listener was read. */
  certificates(listener: ObjectName): boolean;
  /** What is not well with an Upstream on the Listener, or, with null, with the Listener itself: one line each. */
  conditions(upstream: ObjectName | null, listener: ObjectName): readonly string[];
  /** Upstreams with a hostname for the host that the Listener does not serve. */
  absent(host: string, listener: ObjectName, served: ReadonlySet<string>): readonly ObjectName[];
}

export function explainListener(
  compiled: Compiled,
  listener: ListenerPart,
  asked: Asked,
  target: Target,
  facts: Facts | null = null,
): string[] {
  const hosts = listener.hosts.map((hash) => compiled.parts.get(hash) as HostPart);
  const table = buildTable(hosts, (route) => route);
  const { names, values, dropped } = passed(listener, asked);
  const { chosen, others } = table.explain({ ...asked, names, values, path: target.path, query: target.query });
  const forwarded = target.path + (target.hasQuery ? `?${target.query}` : '');
  const known = facts === null || facts.certificates(listener);
  const lines = [
    listenerLine(listener),
    `  certificate ${known ? certificateText(compiled, listener, asked.host) : 'not known: Secrets were not read'}`,
  ];
  lines.push(...conditionLines(facts, null, listener, '  '));
  if (forwarded !== asked.target) lines.push(`  path        matched and forwarded as ${forwarded}`);
  if (asked.from !== null) lines.push(`  client      ${clientText(listener, asked.from)}`);
  if (dropped.length > 0) lines.push(`  fields      dropped before matching: ${dropped.join(', ')}`);
  if (chosen === null) lines.push(`  answers 404: ${whyNone(listener, asked.host, others.length)}`);
  else lines.push(...chosenLines(compiled, chosen.route, asked, facts), ...conditionLines(facts, chosen.route.upstream, listener, '  '));
  if (others.length > 0) lines.push('', '  The others:', ...otherLines(others, listener, facts));
  if (facts !== null) lines.push(...absentLines(facts, listener, asked.host, [...(chosen === null ? [] : [chosen]), ...others]));
  return lines;
}

function listenerLine(l: ListenerPart): string {
  const address = l.addresses.length === 0 ? 'every address' : l.addresses.join(', ');
  return `Listener ${l.namespace}/${l.name}, port ${l.port}${l.advertisedPort === l.port ? '' : ` (reached at ${l.advertisedPort})`}, ${address}`;
}

function certificateText(compiled: Compiled, { tls }: ListenerPart, host: string): string {
  const found = new TlsNames(tls.entries).find(host);
  const index = found >= 0 ? found : tls.fallback;
  const entry = index === null ? undefined : tls.entries[index];
  if (entry === undefined) return `none for ${host}: the handshake is refused`;
  const parts = entry.certificates.map((hash) => compiled.parts.get(hash) as CertificatePart);
  const shown = parts.map((p) => `${p.source} (${p.keyType === 'rsa' ? 'RSA' : 'ECDSA'})`).join(' or ');
  return `${shown}, ${found >= 0 ? 'by name' : `the default: none covers ${host}`}`;
}

/** What is left of the fields when routes are looked for, by the rule that serves: what a client may not say does not steer its request. */
function passed(listener: ListenerPart, asked: Asked): { names: readonly string[]; values: readonly string[]; dropped: readonly string[] } {
  const fields = new Fields();
  asked.names.forEach((name, i) => fields.add(name, asked.values[i] as string));
  cleanRequest(fields, asked.from !== null && isTrusted(listener, asked.from), new DropCounter(new Cells()));
  const dropped = new Set(asked.names.filter((name) => !fields.names.includes(name)));
  return { names: fields.names, values: fields.values, dropped: [...dropped] };
}

const isTrusted = (listener: ListenerPart, from: string): boolean => new AddressList(listener.trust).has(from);

function clientText(listener: ListenerPart, from: string): string {
  return `${from} is ${isTrusted(listener, from) ? 'trusted: its x-forwarded-* fields are kept and appended to' : 'not trusted: its x-forwarded-* fields are replaced'}`;
}

function whyNone(listener: ListenerPart, host: string, candidates: number): string {
  if (listener.hostnames.length > 0 && !listener.hostnames.some((name) => hostMatches(name, host)))
    return `the Listener serves only ${listener.hostnames.join(', ')}`;
  return candidates === 0 ? `no Upstream here has a hostname for ${host}` : 'no match of the Upstreams for this host takes the request';
}

function chosenLines(compiled: Compiled, route: RoutePart, asked: Asked, facts: Facts | null): string[] {
  const upstream = compiled.parts.get(route.target) as UpstreamPart;
  const total = upstream.groups.reduce((sum, g) => sum + g.weight, 0);
  return [
    `  goes to     ${routeText(route)}`,
    `  balancing   ${balancingText(upstream.balancing, asked.from)}`,
    '  backends',
    ...upstream.groups.flatMap((g) => groupLines(compiled, g, total, facts)),
    ...(total === 0 ? ['    every weight is 0: answers 503'] : []),
  ];
}

function groupLines(compiled: Compiled, group: UpstreamPart['groups'][number], total: number, facts: Facts | null): string[] {
  const share = total === 0 ? '0 %' : `${Number(((group.weight / total) * 100).toFixed(2))} %`;
  const head = `    ${group.name}, weight ${group.weight} (${share})`;
  if (group.group === null) return [`${head}: answers 500, a reference of it does not hold`];
  const part = compiled.parts.get(group.group) as GroupPart;
  const source = compiled.groups.get(part.id);
  const verified = part.tls === null ? '' : part.tls.verify ? ', verified' : ', NOT verified';
  return [`${head}, ${part.protocol}${verified}`, ...(source === undefined ? [] : sourceLines(source, facts))];
}

function sourceLines({ service, addresses }: GroupSource, facts: Facts | null): string[] {
  if (service !== null) {
    const endpoints = facts?.endpoints(service) ?? '';
    const port = service.portName === '' ? '' : `, port ${service.portName}`;
    return [`      Service ${service.namespace}/${service.name}${port}${endpoints === '' ? '' : `: ${endpoints}`}`];
  }
  return addresses.map((a) => {
    const where = `${a.host.includes(':') ? `[${a.host}]` : a.host}:${a.port}`;
    return `      ${where}${a.label.toLowerCase() === where ? '' : ` (${a.label})`}, weight ${a.weight}`;
  });
}

function balancingText(balancing: Balancing, from: string | null): string {
  if (balancing.type !== 'ConsistentHash') return balancing.type;
  const { key } = balancing;
  const what = key.type === 'Header' || key.type === 'Cookie' || key.type === 'Query' ? `${key.type} ${key.name}` : key.type;
  return `ConsistentHash by ${what}${key.type === 'SourceAddress' && from !== null ? ` (${from})` : ''}`;
}

function routeText(route: RoutePart): string {
  const at = route.matchIndex < 0 ? '' : ` (matches[${route.matchIndex}])`;
  return `Upstream ${route.upstream.namespace}/${route.upstream.name}: ${route.hostname} ${describeMatch(route.match)}${at}`;
}

function otherLines(others: readonly ExplainedRoute<RoutePart>[], listener: ObjectName, facts: Facts | null): string[] {
  // Those that would take the request are what people look for.
  const ordered = [...others.filter((o) => o.outcome === 'beaten'), ...others.filter((o) => o.outcome === 'refused')];
  const lines = ordered
    .slice(0, TOLD)
    .flatMap((o) => [
      `    ${routeText(o.route)}`,
      `      ${o.outcome === 'beaten' ? 'would take it, but ' : 'does not take it: '}${o.why}`,
      ...conditionLines(facts, o.route.upstream, listener, '      '),
    ]);
  if (ordered.length > TOLD) lines.push(`    and ${ordered.length - TOLD} more`);
  return lines;
}

/** Those that lost everything are not in the table: their conditions say why. */
function absentLines(facts: Facts, listener: ListenerPart, host: string, served: readonly ExplainedRoute<RoutePart>[]): string[] {
  const known = new Set(served.map(({ route: { upstream } }) => `${upstream.namespace}/${upstream.name}`));
  const absent = facts.absent(host, listener, known);
  if (absent.length === 0) return [];
  const lines = absent
    .slice(0, TOLD)
    .flatMap((u) => [`    Upstream ${u.namespace}/${u.name}`, ...conditionLines(facts, u, listener, '      ')]);
  if (absent.length > TOLD) lines.push(`    and ${absent.length - TOLD} more`);
  return ['', '  Not served here, although a hostname fits:', ...lines];
}

const conditionLines = (facts: Facts | null, upstream: ObjectName | null, listener: ObjectName, indent: string): string[] =>
  (facts?.conditions(upstream, listener) ?? []).map((text) => indent + text);
