/** `spooky probe`: one HTTP/3 request, its phases timed. */
import { readFileSync } from 'node:fs';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { formatHostPort, matchesPattern, readDuration, readPort } from '../contract/resources/index.ts';
import { H3ClientError, type H3Response } from '../edge/http/h3/client.ts';
import type { ConnectOptions } from '../edge/quic/engine.ts';
import { chooseEngine, engineEnvironment, type ChosenEngine } from '../edge/quic/index.ts';
import { HandshakeError } from '../edge/quic/failure.ts';
import { systemClock } from '../lib/clock.ts';
import { messageOf } from '../lib/message.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { clusterOption, readFlag } from './cluster/flags.ts';
import { EXIT, readArguments, usageFault, type Arguments, type Command, type CommandIo, type CommandOption } from './command.ts';
import { getOnce, type Patience } from './probe/request.ts';

const PATIENCE: Patience = { handshakeMs: 10_000, answerMs: 30_000 };
/** Of an address behind which the name has another one. */
const FIRST_HANDSHAKE_MS = 3000;
const MAX_ADDRESSES = 8;
const DEFAULT_PORT = 443;
const MAX_WAIT_MS = 3_600_000;

export interface ProbeTarget {
  readonly url: URL;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  /** From --resolve. */
  readonly address: string | null;
}

const unbracket = (host: string): string => (host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host);

/** `host:port:addr`, as curl has it; the address may be in brackets. */
export const readResolve = (text: string): Result<{ host: string; port: number; address: string }, string> => {
  const found = /^(\[[^\]]+\]|[^:[\]]+):([0-9]+):(.+)$/.exec(text);
  const port = readPort(found?.[2] ?? '');
  const address = unbracket(found?.[3] ?? '');
  if (found === null || port <= 0 || isIP(address) === 0) return err('must be host:port:address, like www.example.com:443:127.0.0.1');
  return ok({ host: unbracket(found[1] as string).toLowerCase(), port, address });
};

export const readTarget = (text: string, resolve: string | null): Result<ProbeTarget, string> => {
  let url: URL;
  try {
    url = new URL(text.includes('://') ? text : `https://${text}`);
  } catch {
    return err(`${JSON.stringify(text)} is not a URL`);
  }
  if (url.protocol !== 'https:') return err('HTTP/3 needs https://');
  if (url.username !== '' || url.password !== '') return err('a URL with a user name is not probed');
  const host = unbracket(url.hostname);
  const port = url.port === '' ? DEFAULT_PORT : Number(url.port);
  if (resolve === null) return ok({ url, host, port, address: null });
  const given = readResolve(resolve);
  if (!given.ok) return err(`--resolve ${given.error}`);
  return ok({ url, host, port, address: given.value.host === host && given.value.port === port ? given.value.address : null });
};

const ms = (n: number): string => `${n.toFixed(1)} ms`;

const report = (target: ProbeTarget, address: string, resolveMs: number, response: H3Response): string => {
  const lines = [
    `HTTP/3 ${response.status} from ${formatHostPort({ host: address, port: target.port })}`,
    `  resolve     ${ms(resolveMs)}`,
    `  handshake   ${ms(response.connectedMs)}`,
    `  first byte  ${ms(response.firstByteMs - response.connectedMs)}`,
    `  rest        ${ms(response.doneMs - response.firstByteMs)}`,
    `  total       ${ms(resolveMs + response.doneMs)}`,
    `  body        ${response.bodyBytes} bytes`,
  ];
  for (const [title, fields] of [
    ['', response.fields],
    ['trailer ', response.trailers],
  ] as const) {
    for (let i = 0; i < (fields?.length ?? 0); i++) lines.push(`${title}${fields?.names[i]}: ${printable(fields?.values[i] ?? '')}`);
  }
  return `${lines.join('\n')}\n`;
};

/** A server must not write to the terminal of who probes it. */
const printable = (text: string): string => text.replace(/[^\x20-\x7e]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);

/** Of a name, those that the system has, in its order. */
const resolveHost = async (target: ProbeTarget): Promise<string[]> => {
  if (target.address !== null) return [target.address];
  if (isIP(target.host) !== 0) return [target.host];
  return (await lookup(target.host, { all: true })).slice(0, MAX_ADDRESSES).map((found) => found.address);
};

/** TLS alerts that a person can do something about (RFC 8446 s6.2), as our side sends them. */
const ALERTS: ReadonlyMap<number, string> = new Map([
  [42, 'the certificate does not fit this host, or is damaged'],
  [45, 'the certificate has expired or is not valid yet'],
  [48, 'the certificate is from an authority that is not trusted: name it with --ca, or ask with --insecure'],
]);

/** CRYPTO_ERROR is 0x100 and the alert (RFC 9001 s4.8). */
export const handshakeHint = (e: unknown): string => {
  if (e instanceof HandshakeError && e.side === 'timeout')
    return ': nothing answers there over UDP; is it the right address and port, and is that port open for UDP?';
  const alert = e instanceof HandshakeError && e.side === 'local' && !e.app ? ALERTS.get(e.code - 0x100) : undefined;
  return alert === undefined ? '' : `: ${alert}`;
};

/** Nobody was there: another address of the name may answer. Whoever is there and refuses is an answer to the question. */
const isSilent = (e: unknown): boolean =>
  e instanceof HandshakeError ? e.side === 'timeout' : !(e instanceof H3ClientError) || e.phase === 'connect';

/** Asks one address after the other until one answers or refuses. */
export async function askEach(
  addresses: readonly string[],
  port: number,
  get: (address: string, patience: Patience) => Promise<H3Response>,
  io: Pick<CommandIo, 'stderr'>,
): Promise<{ readonly address: string; readonly response: H3Response } | null> {
  for (const [i, address] of addresses.entries()) {
    const next = addresses[i + 1];
    try {
      return { address, response: await get(address, next === undefined ? PATIENCE : { ...PATIENCE, handshakeMs: FIRST_HANDSHAKE_MS }) };
    } catch (e) {
      const where = formatHostPort({ host: address, port });
      const goesOn = next !== undefined && isSilent(e);
      const hint = goesOn ? `; trying ${formatHostPort({ host: next, port })}` : handshakeHint(e);
      io.stderr(`spooky probe: ${where}: ${printable(messageOf(e))}${hint}\n`);
      if (!goesOn) return null;
    }
  }
  return null;
}

const ask = async (
  target: ProbeTarget,
  trust: Pick<ConnectOptions, 'ca' | 'insecure'>,
  chosen: ChosenEngine,
  io: CommandIo,
): Promise<number> => {
  const began = systemClock.now();
  let addresses: string[];
  try {
    addresses = await resolveHost(target);
  } catch (e) {
    io.stderr(`spooky probe: ${target.host} cannot be resolved: ${messageOf(e)}\n`);
    return EXIT.invalid;
  }
  const resolveMs = systemClock.now() - began;
  const { host, port, url } = target;
  const question = { port, host, authority: url.host, path: `${url.pathname}${url.search}` };
  const get = (address: string, patience: Patience): Promise<H3Response> =>
    getOnce(chosen.engine, { ...question, address }, trust, patience);
  const answer = await askEach(addresses, port, get, io);
  if (answer === null) return EXIT.invalid;
  io.stdout(report(target, answer.address, resolveMs, answer.response));
  return EXIT.ok;
};

/** What is only for one URL. */
const URL_OPTIONS: readonly CommandOption[] = [
  { flag: '--insecure', help: 'Do not verify the server’s certificate.' },
  { flag: '--ca', value: 'F', help: 'PEM file of the authorities to trust.', default: 'the well-known ones' },
  { flag: '--resolve', value: 'host:port:addr', help: 'Where to connect for this host and port.' },
];

/** What is only for a cluster. */
const CLUSTER_ONLY: readonly CommandOption[] = [
  { flag: '--service', value: 'NS/NAME', help: 'The Service by which clients reach the Listeners. Needed.' },
  clusterOption('class', 'The class of Listeners that is meant.'),
  clusterOption('namespaces', 'Namespaces whose Listeners are probed.', "the Service's"),
  { flag: '--hostname', value: 'NAME', help: 'The name to ask for.', default: "the Listener's first, a wildcard as spooky-probe" },
  { flag: '--wait', value: 'D', help: 'How long to try again, about every second, until everything answers.', default: '0s' },
  clusterOption('kubeconfig', 'The credentials of the cluster.'),
  clusterOption('context', 'The context of the kubeconfig.'),
];

export const probe: Command = {
  name: 'probe',
  summary: 'One HTTP/3 request with its phases timed: resolve, handshake, first byte. Exit 0 on any response, 1 without one.',
  usage: 'spooky probe URL [--insecure|--ca F] [--resolve host:port:addr]\n       spooky probe --kubernetes --service NS/NAME [FLAGS]',
  options: [
    ...URL_OPTIONS,
    { flag: '--kubernetes', help: 'Ask every programmed Listener of a cluster through its Service, and say which hop fails.' },
    ...CLUSTER_ONLY,
  ],
  details: [
    'With --kubernetes certificates are not verified, and any HTTP/3 response passes. It lists Listeners and the EndpointSlices of the Service, and gets the Service; at most 100 Listeners are asked.',
    'Exit codes: 0 answered: with --kubernetes by at least one Listener, and by every one that is programmed; 1 not; 2 usage; 4 engine unavailable.',
  ].join('\n'),
  async run(args, io) {
    const read = readArguments(probe, args, io);
    if (read.arguments === null) return read.exit;
    const given = read.arguments;
    const cluster = given.has('--kubernetes');
    const foreign = (cluster ? URL_OPTIONS : CLUSTER_ONLY).find((o) => given.has(o.flag));
    if (foreign !== undefined) return usageFault(probe, `${foreign.flag} is for ${cluster ? 'a URL' : '--kubernetes'}`, io);
    return cluster ? runCluster(given, io) : runUrl(given, io);
  },
};

async function runUrl(given: Arguments, io: CommandIo): Promise<number> {
  const [url, ...more] = given.positional;
  if (url === undefined || more.length > 0) return usageFault(probe, 'one URL is needed', io);
  if (given.has('--insecure') && given.has('--ca')) return usageFault(probe, '--insecure and --ca exclude each other', io);
  const target = readTarget(url, given.value('--resolve'));
  if (!target.ok) return usageFault(probe, target.error, io);
  const caFile = given.value('--ca');
  let ca: Uint8Array | null = null;
  try {
    if (caFile !== null) ca = readFileSync(caFile);
  } catch (e) {
    return usageFault(probe, `--ca: ${messageOf(e)}`, io);
  }
  let chosen: ChosenEngine;
  try {
    chosen = await chooseEngine('auto', engineEnvironment(io.env));
  } catch (e) {
    io.stderr(`spooky probe: ${messageOf(e)}\n`);
    return EXIT.engine;
  }
  return ask(target.value, { ca, insecure: given.has('--insecure') }, chosen, io);
}

async function runCluster(given: Arguments, io: CommandIo): Promise<number> {
  const fault = (message: string): number => usageFault(probe, message, io);
  if (given.positional.length > 0) return fault('a URL and --kubernetes exclude each other');
  const service = readService(given);
  const className = readFlag(given, 'class', 'spooky');
  const [kubeconfig, context] = [readFlag(given, 'kubeconfig', null), readFlag(given, 'context', null)];
  const hostname = given.value('--hostname')?.toLowerCase() ?? null;
  const waitMs = readDuration(given.value('--wait') ?? '0s');
  if (!service.ok) return fault(service.error);
  const namespaces = readFlag(given, 'namespaces', [service.value.namespace]);
  if (!className.ok) return fault(className.error);
  if (!namespaces.ok) return fault(namespaces.error);
  if (!kubeconfig.ok) return fault(kubeconfig.error);
  if (!context.ok) return fault(context.error);
  if (hostname !== null && (hostname.length > 253 || !matchesPattern('exactHostname', hostname)))
    return fault(`--hostname must be a host name without a wildcard or a port, not ${JSON.stringify(hostname)}`);
  if (waitMs === null || waitMs > MAX_WAIT_MS) return fault('--wait must be a duration like 30s, at most 1h');
  const { probeCluster } = await import('./probe/cluster.ts');
  return probeCluster(
    {
      service: service.value,
      className: className.value,
      namespaces: namespaces.value,
      kubeconfig: kubeconfig.value,
      context: context.value,
      hostname,
      waitMs,
    },
    io,
  );
}

function readService(given: Arguments): Result<{ readonly namespace: string; readonly name: string }, string> {
  const text = given.value('--service');
  if (text === null) return err('--kubernetes needs --service: NAMESPACE/NAME');
  const [namespace = '', name = '', ...rest] = text.split('/');
  const good =
    rest.length === 0 &&
    namespace.length <= 63 &&
    matchesPattern('namespace', namespace) &&
    name.length <= 253 &&
    matchesPattern('objectName', name);
  return good ? ok({ namespace, name }) : err(`--service must be NAMESPACE/NAME, not ${JSON.stringify(text)}`);
}
