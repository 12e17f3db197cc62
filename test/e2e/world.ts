/** What every scenario runs against: Spooky with two listeners and three certificates, and a Go backend behind it. */
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { startGoBackend, type GoBackend } from '../kit/backends.ts';
import type { Dial } from '../kit/peers.ts';
import { freeTcpPort, freeUdpPort } from '../kit/process.ts';
import { startSpooky, temporaryFolder, type Spooky } from '../kit/spooky.ts';
import { makeAuthority as makeRoot, makeCertificate, type Issued } from '../kit/x509.ts';

export type Leaf = Pick<Issued, 'cert' | 'key'>;

/** SHA-256 of a certificate, as the clients report it. */
export const fingerprint = (leaf: Leaf): string => new X509Certificate(leaf.cert).fingerprint256.replaceAll(':', '').toLowerCase();

export interface Authority {
  readonly root: Issued;
  /** File with its certificate. */
  readonly file: string;
}

export function makeAuthority(): Authority {
  const root = makeRoot();
  const file = join(temporaryFolder('spooky-ca'), 'ca.pem');
  writeFileSync(file, root.cert);
  return { root, file };
}

/** The names that are served: which backend answers depends on the host alone. */
export const HOSTS = {
  go: 'go.a.test',
  other: 'b.test',
  wild: 'anything.wild.test',
  paths: 'paths.a.test',
  refused: 'refused.a.test',
  empty: 'empty.a.test',
  unresolved: 'unresolved.a.test',
  hurried: 'hurried.a.test',
} as const;

export interface World {
  readonly spooky: Spooky;
  readonly backend: GoBackend;
  readonly leaves: { readonly a: Leaf; readonly b: Leaf; readonly wild: Leaf };
  readonly authority: Authority;
  readonly ports: { readonly open: number; readonly strict: number };
  /** How to reach a host on the listener without particular limits, or on the strict one. */
  dial(name: string, listener?: 'open' | 'strict'): Dial;
}

const certificates = ['a', 'b', 'wild'].map((name) => `{files: {cert: certs/${name}.pem, key: certs/${name}-key.pem}}`).join(', ');

const hasIPv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'));
/** What listeners bind: both families where the machine has both. */
export const ADDRESSES = hasIPv6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'];

export const listener = (name: string, port: number, more = ''): string => `
apiVersion: spooky.dev/v1alpha1
kind: Listener
metadata: {name: ${name}}
spec:
  addresses: [${ADDRESSES.map((address) => JSON.stringify(address)).join(', ')}]
  port: ${port}
  tls: {certificateRefs: [${certificates}]}
${more}`;

export const upstream = (name: string, hosts: readonly string[], address: string, more = ''): string => `
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: ${name}}
spec:
  hostnames: [${hosts.map((host) => JSON.stringify(host)).join(', ')}]
  backends: [{addresses: [{address: "${address}"}]}]
${more}`;

export const documents = (...list: readonly string[]): string => list.join('---');

export function certificateFiles(leaves: Readonly<Record<string, Leaf>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(leaves).flatMap(([name, leaf]) => [
      [`certs/${name}.pem`, leaf.cert],
      [`certs/${name}-key.pem`, leaf.key],
    ]),
  );
}

export function makeLeaves(authority: Authority): World['leaves'] {
  const issuer = authority.root;
  return {
    a: makeCertificate({ names: ['DNS:a.test', 'DNS:*.a.test'], type: 'rsa', issuer, subject: 'a.test' }),
    b: makeCertificate({ names: ['DNS:b.test'], type: 'ecdsa', issuer, subject: 'b.test' }),
    wild: makeCertificate({ names: ['DNS:*.wild.test'], type: 'ecdsa', issuer, subject: 'wild.test' }),
  };
}

export async function startWorld(args: readonly string[] = []): Promise<World> {
  const authority = makeAuthority();
  const leaves = makeLeaves(authority);
  const backend = await startGoBackend('go');
  const ports = { open: await freeUdpPort(), strict: await freeUdpPort() };
  const closed = `127.0.0.1:${await freeTcpPort()}`;
  const text = documents(
    listener('open', ports.open),
    listener('strict', ports.strict, '  limits: {requestBody: 64Ki, headerBytes: 4Ki, headerCount: 40}\n'),
    upstream('go', [HOSTS.go, HOSTS.other, '*.wild.test'], backend.address),
    upstream('paths', [HOSTS.paths], backend.address, '  matches: [{path: {type: Prefix, value: /bytes}}]\n'),
    upstream('refused', [HOSTS.refused], closed),
    upstream('empty', [HOSTS.empty], 'nothing.invalid:80'),
    upstream('unresolved', [HOSTS.unresolved], closed, '  protocol: H2\n  tls: {caRef: {name: gone}}\n'),
    upstream('hurried', [HOSTS.hurried], backend.address, '  timeouts: {response: 200ms}\n'),
  );
  const spooky = await startSpooky({ documents: text, files: certificateFiles(leaves), args });
  const dial: World['dial'] = (name, to = 'open') => ({ address: `127.0.0.1:${ports[to]}`, name, ca: authority.file });
  return { spooky, backend, leaves, authority, ports, dial };
}

/** What Chromium must be told before it starts. */
export function chromiumOptions(world: Pick<World, 'ports' | 'leaves'>): { origins: string[]; certificates: string[] } {
  const origins = Object.values(HOSTS).flatMap((host) => Object.values(world.ports).map((port) => `${host}:${port}`));
  return { origins, certificates: Object.values(world.leaves).map((leaf) => leaf.cert) };
}
