/** Small valid specs, and a way to change one field of one. */
type Spec = Record<string, unknown>;

export const listener = (): Spec => ({ port: 8443, tls: { certificateRefs: [{ name: 'example-tls' }] } });

export const upstream = (): Spec => ({ hostnames: ['api.example.com'], backends: [{ addresses: [{ address: '192.0.2.10:7001' }] }] });

/** A copy with the field at `a.b.0.c` set; undefined removes it. */
export function withField(spec: Spec, path: string, value: unknown): Spec {
  const copy = structuredClone(spec);
  const steps = path.split('.');
  const last = steps.pop() as string;
  let at: Record<string, unknown> = copy;
  for (const step of steps) at = (at[step] ??= {}) as Record<string, unknown>;
  if (value === undefined) delete at[last];
  else at[last] = value;
  return copy;
}

export function fieldOf(value: unknown, path: string): unknown {
  let at = value;
  for (const step of path.split('.')) at = (at as Record<string, unknown> | undefined)?.[step];
  return at;
}

export const times = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));
