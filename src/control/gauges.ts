/** Gauges that a compiled state gives by itself. */
import type { Compiled } from './compile/index.ts';

export type GaugeRow = readonly [readonly string[], number];

/** `config_resources{kind, accepted}` */
export const resourceCounts = (compiled: Compiled): GaugeRow[] => {
  const counts = new Map<string, number>();
  for (const status of compiled.statuses) {
    const accepted = status.conditions.some((c) => c.type === 'Accepted' && c.status === 'True');
    const key = accepted ? `${status.kind} true` : `${status.kind} false`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return Array.from(counts, ([key, n]) => [key.split(' '), n] as const);
};

/** `certificate_expiry_timestamp_seconds{listener, name}` */
export const certificateRows = (compiled: Compiled): GaugeRow[] => {
  const rows: GaugeRow[] = [];
  for (const listener of compiled.listeners) {
    const part = compiled.parts.get(listener);
    if (part?.kind !== 'listener') continue;
    const seen = new Set<string>();
    for (const hash of part.tls.entries.flatMap((entry) => entry.certificates)) {
      const certificate = compiled.parts.get(hash);
      if (certificate?.kind !== 'certificate' || seen.has(certificate.source)) continue;
      seen.add(certificate.source);
      rows.push([[`${part.namespace}/${part.name}`, certificate.source], certificate.notAfter / 1000]);
    }
  }
  return rows;
};
