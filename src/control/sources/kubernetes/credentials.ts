/** Who we are for the API server, and how to know that it is the API server. In a pod from the service account's files, elsewhere from a kubeconfig. */
import { isIPv6 } from 'node:net';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { systemClock, type Clock } from '../../../lib/clock.ts';
import { err, ok, type Result } from '../../../lib/result.ts';
import type { Credentials, CredentialsLog } from './access.ts';
import { cleanMessage } from './answers.ts';
import { fromKubeconfig } from './kubeconfig.ts';
import { PodCredentials } from './pod.ts';

export type { Access, Credentials, TlsMaterial } from './access.ts';

export interface CredentialsOptions {
  /** `--kubeconfig`. */
  readonly kubeconfig: string | null;
  /** `--context`: needs a kubeconfig. */
  readonly context: string | null;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock?: Clock;
  /** What goes wrong later, when the last state stays. */
  readonly log?: CredentialsLog;
  /** Where a pod finds its service account. */
  readonly serviceAccount?: string;
}

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

export const loadCredentials = async (o: CredentialsOptions): Promise<Result<Credentials, string>> => {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port, KUBECONFIG, HOME } = o.env;
  const clock = o.clock ?? systemClock;
  if (o.kubeconfig === null && o.context === null && host !== undefined && host !== '') return inCluster(host, port ?? '443', clock, o);
  const files =
    o.kubeconfig !== null
      ? [o.kubeconfig]
      : KUBECONFIG !== undefined && KUBECONFIG !== ''
        ? KUBECONFIG.split(delimiter).filter((file) => file !== '')
        : [join(HOME ?? homedir(), '.kube', 'config')];
  return fromKubeconfig(files, o.context, clock, o.log ?? null);
};

const inCluster = async (host: string, port: string, clock: Clock, o: CredentialsOptions): Promise<Result<Credentials, string>> => {
  let server: URL;
  try {
    server = new URL(`https://${isIPv6(host) ? `[${host}]` : host}:${port}`);
  } catch {
    return err(`KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT give no address: ${cleanMessage(`${host}:${port}`)}`);
  }
  const pod = new PodCredentials(server, o.serviceAccount ?? SERVICE_ACCOUNT, clock, o.log ?? null);
  const fault = await pod.load();
  return fault === null ? ok(pod) : err(fault);
};
