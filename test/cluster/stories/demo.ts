/** The quick start of the manifests, with the image that was built here, and its certificate. */
import { afterAll, beforeAll } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually } from '../../kit/process.ts';
import { makeCertificate, type Issued } from '../../kit/x509.ts';
import { apply, clean, IMAGE, install, kubectl, MANIFESTS, OWN, rolledOut } from './cluster.ts';
import { ENTRANCES, HOST, once } from './load.ts';

/** A sample of the manifests, with our image in the place of the released one. */
export const sample = (name: string): string =>
  readFileSync(join(MANIFESTS, `${name}.yaml`), 'utf8').replaceAll(/image: \S*spooky:\S+/g, `image: ${IMAGE}`);

export const tlsSecret = (name: string, issued: Issued, where = OWN): object => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { namespace: where, name },
  type: 'kubernetes.io/tls',
  data: { 'tls.crt': Buffer.from(issued.chain).toString('base64'), 'tls.key': Buffer.from(issued.key).toString('base64') },
});

export const demoCertificate = (subject = 'demo'): Issued => makeCertificate({ subject, names: [`DNS:${HOST}`, `DNS:*.${HOST}`] });

/** Everything of manifests/quickstart.yaml, served by both nodes. */
export async function quickstart(): Promise<void> {
  await apply([tlsSecret('demo-tls', demoCertificate())]);
  await apply(sample('quickstart'));
  await Promise.all(['demo-v1', 'demo-v2'].map((name) => rolledOut('deployment', name, 'demo')));
  await Promise.all(ENTRANCES.map(served));
}

/** The release and the quick start, before the tests of a file and gone after them. */
export function withQuickstart(): void {
  beforeAll(async () => {
    await clean();
    await install();
    await quickstart();
  }, 400_000);
  afterAll(() => clean(), 240_000);
}

/** The first 200 by this entrance. */
export const served = (address: string): Promise<void> =>
  eventually(async () => {
    const { status } = await once('/', address, { timeoutMs: 1000 });
    if (status !== 200) throw new Error(`${address}: ${status}`);
  }, 30_000);

export const scale = (name: string, replicas: number): Promise<string> =>
  kubectl(['--namespace', 'demo', 'scale', 'deployment', name, `--replicas=${replicas}`]);
