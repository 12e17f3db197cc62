/** Gauges that a compiled state gives by itself. */
import type { Compiled, Condition } from './compile/index.ts';

export type GaugeRow = readonly [readonly string[], number];

/** `config_resources{kind, accepted}` */
export const resourceCounts = (compiled: Compiled): GaugeRow[] => {
  const counts = { Listener: { true: 0, false: 0 }, Upstream: { true: 0, false: 0 } };
  compiled.statuses.forEach(({ kind, conditions }) => counts[kind][conditions.some(isAccepted) ? 'true' : 'false']++);
  const rows = (['Listener', 'Upstream'] as const).flatMap((kind) =>
    (['true', 'false'] as const).map((accepted) => [[kind, accepted], counts[kind][accepted]] as const),
  );
  return rows.filter(([, n]) => n > 0);
};

const isAccepted = ({ type, status }: Condition): boolean => type === 'Accepted' && status === 'True';

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
