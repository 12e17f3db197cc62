/** The two HTTP servers of the main process: metrics with probes, and the admin API. */
import { hostname } from 'node:os';
import { formatHostPort, type HostPort } from '../../contract/resources/index.ts';
import { adminRoutes } from '../../control/admin/api.ts';
import { probeRoutes } from '../../control/admin/probes.ts';
import { createProcessMetrics } from '../../control/admin/process.ts';
import { startServer, type AdminServer, type Route } from '../../control/admin/server.ts';
import { holderOf } from '../../control/holder.ts';
import type { Service } from '../../control/service.ts';
import type { Secret } from '../../lib/secret.ts';
import type { ServeSettings } from '../../settings.ts';

const METRICS_CONNECTIONS = 512;
const ADMIN_CONNECTIONS = 256;

export interface ServersOptions {
  readonly settings: ServeSettings;
  readonly token: () => Secret | null;
  readonly defect: (where: string, e: unknown) => void;
}

export class Servers {
  /** Where they listen; null: off, or not (yet, or any more). */
  readonly bound: { metrics: string | null; admin: string | null } = { metrics: null, admin: null };
  private readonly o: ServersOptions;
  private open: AdminServer[] = [];
  private starting: Promise<string | null> = Promise.resolve(null);
  private readonly processMetrics = createProcessMetrics();

  constructor(o: ServersOptions) {
    this.o = o;
  }

  /** Those that do not listen yet. What is wrong, or null. */
  start(service: Service): Promise<string | null> {
    this.starting = this.startAll(service);
    return this.starting;
  }

  /** Also what is about to be bound. They can be started again. */
  async close(): Promise<void> {
    await this.starting.catch(() => null);
    const open = this.open;
    this.open = [];
    this.bound.metrics = null;
    this.bound.admin = null;
    await Promise.all(open.map((server) => server.close()));
  }

  private async startAll(service: Service): Promise<string | null> {
    const { settings } = this.o;
    const probes = probeRoutes(service, service.families, () => this.processMetrics.read());
    return (
      (await this.startOne('metrics', settings.metrics, probes, METRICS_CONNECTIONS)) ??
      this.startOne('admin', settings.admin, adminRoutes(service), ADMIN_CONNECTIONS)
    );
  }

  private async startOne(
    name: 'metrics' | 'admin',
    address: HostPort | null,
    routes: ReadonlyMap<string, Route>,
    maxConnections: number,
  ): Promise<string | null> {
    if (address === null || this.bound[name] !== null) return null;
    const admin = name === 'admin';
    try {
      const server = await startServer({
        address,
        routes,
        maxConnections,
        checkHost: admin,
        hostNames: [(this.o.settings.nodeName ?? hostname()).toLowerCase()],
        token: () => (admin ? this.o.token() : null),
        onError: (e) => this.o.defect('admin', e),
      });
      this.open.push(server);
      this.bound[name] = formatHostPort(server.address);
      return null;
    } catch (e) {
      const holder = await holderOf('tcp', address.port);
      const why = e instanceof Error ? e.message : String(e);
      return `--${name}: ${formatHostPort(address)} cannot be bound: ${why}${holder === null ? '' : `, held by ${holder}`}`;
    }
  }
}
