/** prom-client's view of the main process: process_* and nodejs_*. */
import { collectDefaultMetrics, Registry } from 'prom-client';
import type { ForeignFamily } from './render.ts';

export const createProcessMetrics = (): { read(): Promise<readonly ForeignFamily[]> } => {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return {
    read: async () =>
      (await registry.getMetricsAsJSON()).map((m) => ({
        name: m.name,
        help: m.help,
        type: String(m.type),
        values: m.values as ForeignFamily['values'],
      })),
  };
};
