/** Gauges that a compiled state gives by itself. */
import type { Compiled } from './compile/index.ts';

export type GaugeRow = readonly [readonly string[], number];

/** `config_resources{kind, accepted}` */
export const resourceCounts = (compiled: Compiled): GaugeRow[] => {
  const counts = new Map<string, { labels: readonly string[]; n: number }>();
  for (const status of compiled.statuses) {
    const accepted = status.conditions.some((c) => c.type === 'Accepted' && c.status === 'True');
    const labels = [status.kind, String(accepted)];
    const entry = counts.get(labels.join()) ?? { labels, n: 0 };
    entry.n++;
    counts.set(labels.join(), entry);
  }
  return [...counts.values()].map(({ labels, n }) => [labels, n] as const);
};

/** `certificate_expiry_timestamp_seconds{listener, name}` */
export const certificateRows = (compiled: Compiled): GaugeRow[] => {
  const rows: GaugeRow[] = [];
  for (const part of compiled.parts.values()) {
    if (part.kind !== 'listener') continue;
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
