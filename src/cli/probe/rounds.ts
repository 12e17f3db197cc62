/** `spooky probe --kubernetes`: from the Listener over the Service to a pod, so that whoever reads the lines knows which hop fails. */
import { isIP } from 'node:net';
import { formatHostPort } from '../../contract/resources/index.ts';
import type { ApiError, ApiErrorKind, KubeApi } from '../../control/sources/kubernetes/api.ts';
import { HandshakeError } from '../../edge/quic/failure.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Result } from '../../lib/result.ts';
import { remedyFor } from '../cluster/remedies.ts';
import { getService, listListeners, listPods, type ProbedListener, type PublishedService, type ServiceName } from './objects.ts';
import type { Ask, Question } from './request.ts';

export interface RoundOptions {
  readonly api: KubeApi;
  readonly service: ServiceName;
  readonly className: string;
  /** Where Listeners are looked for; null: everywhere. */
  readonly namespaces: readonly string[] | null;
  readonly hostname: string | null;
  readonly ask: Ask;
}

export interface Round {
  readonly lines: readonly string[];
  readonly passed: boolean;
  /** Whether another look may find it different. */
  readonly again: boolean;
}

const AGAIN_MS = 1000;
export const MAX_PROBED = 100;
const AT_A_TIME = 8;
/** What does not go away by waiting. */
const FINAL: ReadonlySet<ApiErrorKind> = new Set(['forbidden', 'unauthorized', 'not_found', 'invalid', 'malformed', 'too_large']);
/** CRYPTO_ERROR and the alert unrecognized_name (RFC 9001 s4.8, RFC 6066 s3). */
const UNRECOGNIZED_NAME = 0x100 + 112;

/** Until everything passes or the time is over; the last round is what is told. */
export async function probeRounds(o: RoundOptions, waitMs: number, clock: Clock): Promise<Round> {
  const until = clock.now() + waitMs;
  for (;;) {
    const round = await probeRound(o);
    const left = until - clock.now();
    if (round.passed || !round.again || left <= 0) return round;
    await new Promise<void>((resolve) => {
      clock.after(Math.min(AGAIN_MS, left), resolve);
    });
  }
}

const failed = (again: boolean, ...lines: readonly string[]): Round => ({ lines, passed: false, again });

const apiFailed = (what: string, error: ApiError, remedy = ''): Round =>
  failed(!FINAL.has(error.kind), `api: ${what}: ${error.kind.replaceAll('_', ' ')}: ${error.message}${remedy}`);

const label = ({ namespace, name }: ServiceName): string => `${namespace}/${name}`;

async function probeRound(o: RoundOptions): Promise<Round> {
  const listeners = await listListeners(o.api, o.namespaces, o.className);
  if (!listeners.ok) return apiFailed('Listeners cannot be listed', listeners.error, remedyFor(listeners.error.kind));
  const [first] = listeners.value;
  if (first === undefined) {
    const where = o.namespaces === null ? 'any namespace' : o.namespaces.join(', ');
    return failed(false, `no Listener of class ${o.className} in ${where}: apply one first, for example manifests/quickstart.yaml`);
  }
  const lines = listeners.value.flatMap((l) =>
    l.unprogrammed === null ? [] : [`listener ${label(l)}: not programmed: ${l.unprogrammed}`],
  );
  const programmed = listeners.value.filter((l) => l.unprogrammed === null);
  if (programmed.length === 0)
    return failed(
      true,
      ...lines.slice(0, MAX_PROBED),
      `no Listener is programmed: see kubectl describe listener -n ${first.namespace} ${first.name}`,
    );
  const service = await getService(o.api, o.service);
  if (!service.ok) return apiFailed(`Service ${label(o.service)} cannot be read`, service.error);
  if (service.value === undefined) return failed(true, ...lines, `service: there is no Service ${label(o.service)}`);
  const pods = await listPods(o.api, o.service);
  if (!pods.ok) return apiFailed('EndpointSlices cannot be listed', pods.error);
  return probeAll(o, programmed, { ...service.value, pods: pods.value }, lines);
}

interface Path extends PublishedService {
  readonly pods: readonly string[];
}

async function probeAll(o: RoundOptions, programmed: readonly ProbedListener[], path: Path, before: readonly string[]): Promise<Round> {
  const probed = programmed.slice(0, MAX_PROBED);
  const told: Told[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    for (let i = next++; i < probed.length; i = next++) told[i] = await probeListener(o, probed[i] as ProbedListener, path);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  const rest = programmed.length - probed.length;
  const lines = [...before, ...told.flatMap((t) => t.lines), ...(rest > 0 ? [`and ${rest} more Listeners that are not asked`] : [])];
  return { lines, passed: told.every((t) => t.passed), again: true };
}

interface Told {
  readonly lines: readonly string[];
  readonly passed: boolean;
}

async function probeListener(o: RoundOptions, listener: ProbedListener, { service, clusterAddresses, pods }: Path): Promise<Told> {
  const say = (text: string): string => `listener ${label(listener)}: ${text}`;
  const port = service.ports.find((p) => p.protocol === 'UDP' && p.targetPort === listener.port);
  if (port === undefined)
    return {
      lines: [say(`service: ${label(o.service)} publishes no port for ${listener.port}: add it to the chart's values: ports`)],
      passed: false,
    };
  const [pod] = pods;
  if (pod === undefined) return { lines: [say(`pods: no pod of ${label(o.service)} is ready`)], passed: false };
  const host = hostOf(o.hostname, listener);
  // A Service without an address of its own leads to its pods.
  const targets =
    clusterAddresses.length > 0
      ? clusterAddresses.map((address) => ({ address, port: port.port }))
      : [{ address: pod, port: listener.port }];
  const lines: string[] = [];
  let passed = true;
  for (const target of targets) {
    const answer = await answerOf(o.ask, target, host);
    if (answer.ok) lines.push(say(answer.value));
    else {
      passed = false;
      const near = pods.find((p) => isIP(p) === isIP(target.address)) ?? pod;
      lines.push(
        say(
          answer.error.refusesName
            ? refusedText(target, host)
            : await whichHop(o.ask, target, { address: near, port: listener.port }, host, answer.error),
        ),
      );
    }
  }
  return { lines, passed };
}

/** What to ask for: a name that somebody gave, or the Listener's first. */
function hostOf(given: string | null, { hostnames: [first] }: ProbedListener): string | null {
  if (given !== null) return given;
  if (first === undefined || first === '*') return null;
  return first.startsWith('*.') ? `spooky-probe${first.slice(1)}` : first;
}

type Target = Pick<Question, 'address' | 'port'>;
const placeOf = ({ address, port }: Target): string => formatHostPort({ host: address, port });

interface Failure {
  readonly message: string;
  readonly refusesName: boolean;
}

async function answerOf(ask: Ask, target: Target, host: string | null): Promise<Result<string, Failure>> {
  try {
    const { status, doneMs } = await ask({ ...target, host, authority: host ?? placeOf(target), path: '/' });
    return { ok: true, value: `HTTP/3 ${status} from ${placeOf(target)} in ${doneMs.toFixed(1)} ms` };
  } catch (e) {
    const refusesName = e instanceof HandshakeError && e.side === 'remote' && !e.app && e.code === UNRECOGNIZED_NAME;
    return { ok: false, error: { message: e instanceof Error ? e.message : String(e), refusesName } };
  }
}

const refusedText = (target: Target, host: string | null): string =>
  `request: ${placeOf(target)} answers, and refuses ${host === null ? 'a client without a name' : `the name ${host}`} (TLS alert unrecognized_name): ` +
  `with tls.unmatched: Reject a name is needed that a certificate covers: --hostname (the chart's value test.hostname)`;

async function whichHop(ask: Ask, target: Target, pod: Target, host: string | null, failure: Failure): Promise<string> {
  if (placeOf(target) === placeOf(pod)) return `pods: the pod ${placeOf(pod)} does not answer: ${failure.message}`;
  const direct = await answerOf(ask, pod, host);
  return direct.ok || direct.error.refusesName
    ? `service: the pod ${placeOf(pod)} answers, the Service's address ${placeOf(target)} does not: look at kube-proxy and at NetworkPolicies`
    : `pods: neither the Service's address nor the pod ${placeOf(pod)} answers: ${failure.message}`;
}
