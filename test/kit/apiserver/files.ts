/** What clients find a server by: a kubeconfig, and the folder that a kubelet mounts into a pod. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Identity {
  readonly url: string;
  readonly ca: string;
  readonly token: string;
  readonly namespace: string;
}

export function kubeconfigText({ url, ca, token, namespace }: Identity): string {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'fake', cluster: { server: url, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
    users: [{ name: 'fake', user: { token } }],
    contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'fake', namespace } }],
    'current-context': 'fake',
  };
  return `${JSON.stringify(config, null, 1)}\n`;
}

export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'fake-apiserver-'));
  #versions = 0;

  kubeconfig(name: string, identity: Identity): string {
    const path = join(this.path, name);
    writeFileSync(path, kubeconfigText(identity), { mode: 0o600 });
    return path;
  }

  /** Files behind a link that is swapped, as a projected volume has them. */
  serviceAccount({ ca, token, namespace }: Identity): string {
    const mount = join(this.path, 'serviceaccount');
    const version = `..${++this.#versions}`;
    mkdirSync(join(mount, version), { recursive: true });
    for (const [name, text] of Object.entries({ 'ca.crt': ca, token, namespace })) writeFileSync(join(mount, version, name), text);
    symlinkSync(version, join(mount, '..next'));
    renameSync(join(mount, '..next'), join(mount, '..data'));
    if (this.#versions === 1) for (const name of ['ca.crt', 'token', 'namespace']) symlinkSync(join('..data', name), join(mount, name));
    return mount;
  }

  drop(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
