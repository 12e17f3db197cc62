/** What `make bench-config` was asked for. */
import type { Shape } from './documents.ts';

export const LAYOUTS = ['one-file', 'many-files', 'one-host', 'cluster', 'certificates'] as const;
export type Layout = (typeof LAYOUTS)[number];

export interface Options {
  readonly layouts: readonly Layout[];
  readonly upstreams: number;
  readonly endpoints: number;
  readonly hosts: number;
  readonly changes: number;
  readonly certificates: number;
  readonly workers: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

const isLayout = (name: string): name is Layout => (LAYOUTS as readonly string[]).includes(name);

/** The options, or what is wrong with them. */
export function readOptions(env: Environment): Options | string {
  const wanted = (env['LAYOUTS'] ?? '').split(/[\s,]+/).filter((word) => word !== '');
  const wrong = wanted.find((name) => !isLayout(name));
  if (wrong !== undefined) return `LAYOUTS=${wrong}: layouts are ${LAYOUTS.join(', ')}`;
  const faults: string[] = [];
  const count = (name: string, otherwise: number, max: number): number => {
    const n = Number(env[name] || otherwise);
    if (!Number.isInteger(n) || n < 1 || n > max) faults.push(`${name}=${env[name]}: a whole number from 1 to ${max} is wanted`);
    return n;
  };
  const options = {
    layouts: wanted.length === 0 ? LAYOUTS : LAYOUTS.filter((name) => wanted.includes(name)),
    upstreams: count('UPSTREAMS', 10_000, 100_000),
    endpoints: count('ENDPOINTS', 5, 100),
    hosts: count('HOSTS', 2_000, 100_000),
    changes: count('CHANGES', 100, 10_000),
    certificates: count('CERTIFICATES', 1_000, 9_000),
    workers: count('WORKERS', 2, 64),
  };
  return faults[0] ?? options;
}

/** One hostname for all is the hardest case of the route table; certificates are brought by an Upstream each. */
export function shapeOf(layout: Layout, o: Options): Shape {
  const { upstreams, endpoints, hosts } = o;
  switch (layout) {
    case 'one-file':
    case 'cluster':
      return { upstreams, endpoints, hosts, files: 1, certificates: 1 };
    case 'many-files':
      return { upstreams, endpoints, hosts, files: Math.min(100, upstreams), certificates: 1 };
    case 'one-host':
      return { upstreams, endpoints, hosts: 1, files: Math.min(100, upstreams), certificates: 1 };
    case 'certificates':
      return { upstreams: o.certificates, endpoints, hosts: o.certificates, files: 1, certificates: o.certificates };
  }
}
