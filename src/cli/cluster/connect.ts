/** The API server of whoever runs a command. */
import type { ApiError, ApiErrorKind, KubeApi } from '../../control/sources/kubernetes/api.ts';
import { createClient } from '../../control/sources/kubernetes/client.ts';
import { loadCredentials } from '../../control/sources/kubernetes/credentials.ts';
import { systemClock } from '../../lib/clock.ts';
import { createLog } from '../../lib/log.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import type { CommandIo } from '../command.ts';
import { packageVersion } from '../package.ts';

export interface Connected {
  readonly api: KubeApi;
  /** Of the pod, or of the context. */
  readonly namespace: string;
  /** What the last answer was, if it was a failure. */
  failure(): ApiErrorKind | null;
}

interface Where {
  readonly kubeconfig: string | null;
  readonly context: string | null;
}

export async function connectApi(command: string, { kubeconfig, context }: Where, io: CommandIo): Promise<Result<Connected, string>> {
  const log = createLog({ level: 'warn', format: 'plain', write: (line) => io.stderr(line), wall: () => systemClock.wall() });
  const credentials = await loadCredentials({ kubeconfig, context, env: io.env, clock: systemClock, log });
  if (!credentials.ok) return err(`${credentials.error}; --kubeconfig and --context say which cluster is meant`);
  const client = createClient({
    credentials: credentials.value,
    clock: systemClock,
    log,
    userAgent: `spooky/${packageVersion()} (${command})`,
  });
  let failure: ApiError | null = null;
  const api: KubeApi = {
    async request(request) {
      const answer = await client.request(request);
      failure = answer.ok ? null : answer.error;
      return answer;
    },
    stream: (path, options) => client.stream(path, options),
    close: () => client.close(),
  };
  return ok({ api, namespace: credentials.value.namespace, failure: () => failure?.kind ?? null });
}
