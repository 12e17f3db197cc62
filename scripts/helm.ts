/** The helm binary, where there is one: on the PATH, or among what the test cluster is built of. */
import { execFileSync, spawnSync } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** A version for which charts are rendered without a cluster. */
export const KUBE_VERSION = '1.36.0';

const candidates = (name: string, env: NodeJS.ProcessEnv): string[] => {
  const cache = env['CLUSTER_HOME'] ?? join(env['SPOOKY_CACHE'] ?? join(homedir(), '.cache', 'spooky'), 'cluster');
  return [name, join(cache, 'bin', name), join(homedir(), '.cache', 'kube-lab', 'bin', name)];
};

/** `name`: helm or helm4. */
export const findHelm = (name = 'helm', env: NodeJS.ProcessEnv = process.env): string | null =>
  candidates(name, env).find((path) => spawnSync(path, ['version', '--short'], { stdio: 'ignore', timeout: 20_000 }).status === 0) ?? null;

const NAMESPACE = 'spooky-system';

const HEAD = `# What the chart renders by default, in a namespace of its own: make generate
# kubectl apply --server-side -f manifests/install.yaml
---
apiVersion: v1
kind: Namespace
metadata:
  name: ${NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
`;

export const installManifest = (helm: string, root: string): string => {
  const args = [
    'template',
    'spooky',
    join(root, 'charts', 'spooky'),
    '--namespace',
    NAMESPACE,
    '--kube-version',
    KUBE_VERSION,
    '--no-hooks',
  ];
  const text = execFileSync(helm, args, { encoding: 'utf8', maxBuffer: 16 * 1024 ** 2, timeout: 60_000 });
  // helm 4 has an empty line before each document, helm 3 has not.
  return `${HEAD}${text.replaceAll(/\n{2,}---\n/g, '\n---\n').trimEnd()}\n`;
};
