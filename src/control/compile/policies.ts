/** Step 7: durations, sizes and policies as numbers. */
import {
  parseDuration,
  parseSize,
  type HashKeySpec,
  type Listener,
  type LoadBalancing,
  type Timeouts,
} from '../../contract/resources/index.ts';
import type { Balancing, HashKey, ListenerPart, UpstreamPart } from '../../contract/snapshot/index.ts';
import type { Draft } from './draft.ts';

export function policies(draft: Draft): void {
  for (const listener of draft.listeners) {
    const { spec } = listener.resource;
    listener.policies = draft.memo.slot(spec, 'policies', [], () => ({ quic: quicOf(spec.quic), limits: limitsOf(spec.limits) }));
  }
  draft.forFresh((upstream) => {
    const { spec } = upstream.resource;
    const hashes = upstream.groups.map((g) => g.group);
    upstream.part = draft.memo.slot(upstream.facts, 'part', hashes, (): UpstreamPart => ({
      kind: 'upstream',
      ...upstream.name,
      balancing: balancingOf(spec.loadBalancing),
      timeouts: timeoutsOf(spec.timeouts),
      groups: upstream.groups,
    }));
  });
}

const keepAlive = (text: string): number => (text === 'Auto' ? -1 : text === 'Never' ? 0 : parseDuration(text));

const quicOf = (quic: Listener['quic']): ListenerPart['quic'] => ({
  idleTimeoutMs: parseDuration(quic.idleTimeout),
  keepAliveMs: keepAlive(quic.keepAlive),
  handshakeTimeoutMs: parseDuration(quic.handshakeTimeout),
  maxStreams: quic.maxStreams,
  streamWindow: parseSize(quic.streamWindow),
  congestionControl: quic.congestionControl,
  retry: quic.retry,
});

const limitsOf = (limits: Listener['limits']): ListenerPart['limits'] => ({
  connections: limits.connections ?? null,
  connectionsPerAddress: limits.connectionsPerAddress,
  handshakesPerSecond: limits.handshakesPerSecond,
  headerBytes: parseSize(limits.headerBytes),
  headerCount: limits.headerCount,
  requestBody: parseSize(limits.requestBody),
  headerTimeoutMs: parseDuration(limits.headerTimeout),
  bodyIdleTimeoutMs: parseDuration(limits.bodyIdleTimeout),
  responseStallMs: parseDuration(limits.responseStall),
  noRequestTimeoutMs: parseDuration(limits.noRequestTimeout),
  requestsPerConnection: limits.requestsPerConnection,
  pending: limits.pending,
});

const timeoutsOf = (timeouts: Timeouts): UpstreamPart['timeouts'] => ({
  connectMs: parseDuration(timeouts.connect),
  responseMs: parseDuration(timeouts.response),
  idleMs: parseDuration(timeouts.idle),
  requestMs: parseDuration(timeouts.request),
});

function balancingOf(policy: LoadBalancing): Balancing {
  if (policy.type !== 'ConsistentHash') return { type: policy.type };
  const key = policy.consistentHash?.key;
  return { type: 'ConsistentHash', key: key === undefined ? { type: 'SourceAddress' } : hashKeyOf(key) };
}

function hashKeyOf(key: HashKeySpec): HashKey {
  switch (key.type) {
    case 'Header':
      return { type: key.type, name: key.header?.name ?? '' };
    case 'Cookie':
      return { type: key.type, name: key.cookie?.name ?? '' };
    case 'Query':
      return { type: key.type, name: key.query?.name ?? '' };
    case 'SourceAddress':
    case 'Path':
    case 'Authority':
      return { type: key.type };
    default: {
      const never: never = key.type;
      return never;
    }
  }
}
