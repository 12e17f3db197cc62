/** The release and its Listener while a story changes them. */
import { api, CHART, getJson, helm, kubectl, OWN, ready, rolledOut, valuesFile, type Pod } from './cluster.ts';

/** Short times for stories that do not look at drains. */
export const SWIFT = { drain: { delay: '1s', timeout: '10s' }, minReadySeconds: 1 };

/** `helm upgrade` to these values alone, until every pod is a new one and ready. */
export async function upgrade(values: object = {}): Promise<readonly Pod[]> {
  await helm(['upgrade', 'spooky', CHART, '--reset-values', '--wait', '--timeout', '120s', '--values', valuesFile(values)]);
  // helm waits for as many pods as the update strategy wants, which may be one less.
  await rolledOut('daemonset', 'spooky', OWN, 120);
  return ready();
}

export const helmTest = async (): Promise<string> => {
  const said = await helm(['test', 'spooky', '--timeout', '90s']);
  if (!/Phase:\s+Succeeded/.test(said) || /Phase:\s+Failed/.test(said)) throw new Error(said);
  return said;
};

/** What a namespace enforces. */
export const podSecurity = (level: string, name = OWN): Promise<string> =>
  kubectl(['label', 'namespace', name, `pod-security.kubernetes.io/enforce=${level}`, '--overwrite']);

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
}

interface Raw {
  readonly metadata: { readonly generation: number };
  readonly status?: {
    readonly addresses?: readonly { readonly value: string; readonly port?: number }[];
    readonly conditions?: readonly Condition[];
    readonly installations?: readonly {
      readonly endpoints?: { total: number; ready: number };
      readonly conditions?: readonly Condition[];
    }[];
  };
}

export interface Told {
  /** `Accepted: True Valid` and so on; '' of what was not judged at the present generation. */
  readonly verdicts: Readonly<Record<string, string>>;
  readonly messages: Readonly<Record<string, string>>;
  /** `address:port`, sorted. */
  readonly addresses: readonly string[];
  readonly endpoints: { readonly total: number; readonly ready: number } | null;
}

/** The status of a Listener or Upstream. */
export async function told(kind: 'listener' | 'upstream', name: string, where: string): Promise<Told> {
  const { metadata, status } = await getJson<Raw>([kind, name, '--namespace', where]);
  const ours = status?.installations?.[0];
  const conditions = status?.conditions ?? ours?.conditions ?? [];
  return {
    verdicts: Object.fromEntries(
      conditions.map((c) => [c.type, c.observedGeneration === metadata.generation ? `${c.status} ${c.reason}` : '']),
    ),
    messages: Object.fromEntries(conditions.map((c) => [c.type, c.message])),
    addresses: (status?.addresses ?? []).map(({ value, port }) => `${value}:${port}`).sort(),
    endpoints: ours?.endpoints ?? null,
  };
}

export const listener = (name = 'public'): Promise<Told> => told('listener', name, OWN);

/** Who leads: the pod's name in the Lease. */
export async function leader(): Promise<string> {
  const { spec } = await getJson<{ spec: { holderIdentity?: string } }>(['lease', 'spooky-leader', '--namespace', OWN]);
  // NAME_UID, as client-go has it.
  return (spec.holderIdentity ?? '').split('_')[0] ?? '';
}

/** Whether a ServiceAccount of the release may do this: `patch listeners/status --subresource=...` and so on. */
export const may = async (account: string, ...what: readonly string[]): Promise<boolean> => {
  const as = `system:serviceaccount:${OWN}:${account}`;
  return (await api.run('kubectl', ['auth', 'can-i', ...what, '--as', as, '--namespace', OWN])).stdout.trim() === 'yes';
};
