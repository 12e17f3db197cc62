/** A configuration of any size, written into a folder, and its changes. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeCertificate } from '../../kit/x509.ts';

export interface Shape {
  readonly upstreams: number;
  /** Of each Upstream. */
  readonly endpoints: number;
  readonly hosts: number;
  readonly files: number;
  readonly certificates: number;
}

/** Each number is one change of its Upstream. */
export interface Edits {
  route: number;
  endpoint: number;
}

export const endpointOf = (upstream: number, i: number, edit: number): string =>
  `10.${(upstream >> 8) & 255}.${upstream & 255}.${1 + i + (i === 0 ? (edit % 200) + 20 : 0)}:${8000 + (upstream >> 16)}`;

const upstreamText = (shape: Shape, n: number, edits: Edits): string => `---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata:
  name: upstream-${n}
  labels: {team: team-${n % 50}}
spec:
  hostnames: [host-${n % shape.hosts}.example]
  matches:
    - path: {type: Prefix, value: /service-${n}${edits.route === 0 ? '' : `/v${edits.route}`}}
  timeouts: {response: 15s}
${n < shape.certificates - 1 ? `  certificateRefs: [{name: tls-${n + 1}}]\n` : ''}\
  backends:
    - addresses:
${Array.from({ length: shape.endpoints }, (_, i) => `        - {address: "${endpointOf(n, i, edits.endpoint)}"}\n`).join('')}`;

const listenerText = (): string => `apiVersion: spooky.dev/v1alpha1
kind: Listener
metadata: {name: public}
spec:
  addresses: ["127.0.0.1"]
  port: 0
  tls:
    certificateRefs:
      - {files: {cert: ../certs/0.pem, key: ../certs/0.key}}
    allowUpstreamCertificates: true
`;

const base64 = (text: string): string => Buffer.from(text).toString('base64');

const secretText = (n: number, cert: string, key: string): string => `apiVersion: v1
kind: Secret
metadata: {name: tls-${n}}
type: kubernetes.io/tls
data: {tls.crt: ${base64(cert)}, tls.key: ${base64(key)}}
`;

export class Documents {
  readonly folder: string;
  private readonly shape: Shape;
  private readonly edits: Edits[];
  private renewals = 0;

  constructor(root: string, shape: Shape) {
    this.folder = join(root, 'config');
    this.shape = shape;
    this.edits = Array.from({ length: shape.upstreams }, () => ({ route: 0, endpoint: 0 }));
    mkdirSync(this.folder);
    mkdirSync(join(root, 'certs'));
    for (let i = 0; i < shape.certificates; i++) this.write(i, this.issue(i));
    this.replace('listener.yaml', listenerText());
    for (let i = 0; i < shape.files; i++) this.file(i);
  }

  /** Another path of one Upstream; returns what writes it. */
  route(n: number): () => void {
    (this.edits[n] as Edits).route++;
    return this.prepared(n);
  }

  endpoint(n: number): () => void {
    (this.edits[n] as Edits).endpoint++;
    return this.prepared(n);
  }

  /** Another certificate for the same name. */
  renew(n: number): () => void {
    const issued = this.issue(n);
    return () => this.write(n, issued);
  }

  private issue(n: number): { readonly cert: string; readonly key: string } {
    const name = n === 0 ? '*.example' : `host-${(n - 1) % this.shape.hosts}.example`;
    return makeCertificate({ subject: `tls-${n} ${++this.renewals}`, names: [`DNS:${name}`] });
  }

  /** The first is the Listener's, in two files; the others are of Upstreams, which refer to Secrets. */
  private write(n: number, { cert, key }: { readonly cert: string; readonly key: string }): void {
    if (n > 0) return this.replace(`secret-${n}.yaml`, secretText(n, cert, key));
    this.replace('../certs/0.key', key);
    this.replace('../certs/0.pem', cert);
  }

  private prepared(n: number): () => void {
    const i = n % this.shape.files;
    const text = this.textOf(i);
    return () => this.replace(`upstreams-${i}.yaml`, text);
  }

  private file(i: number): void {
    this.replace(`upstreams-${i}.yaml`, this.textOf(i));
  }

  private textOf(file: number): string {
    const { shape } = this;
    let text = '';
    for (let n = file; n < shape.upstreams; n += shape.files) text += upstreamText(shape, n, this.edits[n] as Edits);
    return text;
  }

  /** By a rename, as editors and operators do. */
  private replace(name: string, text: string): void {
    const path = join(this.folder, name);
    writeFileSync(`${path}.new`, text);
    renameSync(`${path}.new`, path);
  }
}
