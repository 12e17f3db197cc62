/** One run of `serve`, from the first read of the configuration to the last line of the log. */
import { hostname } from 'node:os';
import { Cells } from '../../contract/cells.ts';
import { formatHostPort, type HostPort, type Problem, type ResourceSet, type SettingsDocument } from '../../contract/resources/index.ts';
import { adminRoutes } from '../../control/admin/api.ts';
import { probeRoutes } from '../../control/admin/probes.ts';
import { createProcessMetrics } from '../../control/admin/process.ts';
import { startServer, type AdminServer, type Route } from '../../control/admin/server.ts';
import { compile, Memo, type Compiled } from '../../control/compile/index.ts';
import { ALWAYS_DENIED, DenyList } from '../../lib/deny.ts';
import { forkWorkers } from '../../control/fork.ts';
import { http2Checks } from '../../control/health/http2.ts';
import { holderOf } from '../../control/holder.ts';
import type { WorkerLoad } from '../../control/publish.ts';
import { logProblems, problemLine } from '../../control/report.ts';
import { blocks, problemsOf, Service, type Start } from '../../control/service.ts';
import { systemResolve } from '../../control/sources/dns.ts';
import { createSource } from '../../control/sources/files.ts';
import type { Source, SourceState } from '../../control/sources/source.ts';
import { systemClock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Result } from '../../lib/result.ts';
import type { Secret } from '../../lib/secret.ts';
import { changedSettings, LIVE_SETTINGS, workerCount, type ServeSettings, type SettingProblem } from '../../settings.ts';
import { EXIT, type CommandIo } from '../command.ts';
import { packageVersion } from '../package.ts';
import { nodeNumber, readKeyFile, readTokenFile } from './files.ts';
import { openLogs, type Logs } from './logs.ts';

const METRICS_CONNECTIONS = 512;
const ADMIN_CONNECTIONS = 256;

export interface RunOptions {
  readonly config: string;
  /** From flags and environment alone. */
  readonly settings: ServeSettings;
  readonly settingsWith: (document: SettingsDocument | null) => Result<ServeSettings, readonly SettingProblem[]>;
  readonly io: CommandIo;
  readonly newKey: () => Uint8Array;
}

export const runServe = async (o: RunOptions): Promise<number> => {
  const source = createSource(o.config, { cwd: o.io.cwd });
  let onChange: (state: SourceState) => void = () => {};
  const state = await source.start((next) => onChange(next));
  const settings = o.settingsWith(state.settings);
  if (!settings.ok) {
    for (const p of settings.error) o.io.stderr(`spooky serve: ${p.source}: ${p.message}\n`);
    await source.stop();
    return EXIT.invalid;
  }
  const cells = new Cells();
  let logs: Logs;
  try {
    logs = openLogs(settings.value, cells);
  } catch (e) {
    o.io.stderr(`spooky serve: --log-file: ${e instanceof Error ? e.message : String(e)}\n`);
    await source.stop();
    return EXIT.invalid;
  }
  const run = new Run(o, settings.value, logs, cells, source);
  onChange = (next) => run.changed(next);
  try {
    return await run.main(state);
  } finally {
    await run.end();
  }
};

class Run {
  private readonly o: RunOptions;
  private settings: ServeSettings;
  private readonly logs: Logs;
  private readonly log: Log;
  private readonly cells: Cells;
  private readonly source: Source;
  private readonly servers: AdminServer[] = [];
  private readonly memo = new Memo();
  private readonly compile = (set: ResourceSet): Compiled => compile(set, { standalone: true, memo: this.memo });
  private service: Service | null = null;
  private token: Secret | null = null;

  constructor(o: RunOptions, settings: ServeSettings, logs: Logs, cells: Cells, source: Source) {
    this.o = o;
    this.settings = settings;
    this.logs = logs;
    this.log = logs.log;
    this.cells = cells;
    this.source = source;
  }

  async main(state: SourceState): Promise<number> {
    this.catchDefects();
    const stopping = this.signals();
    const { settings } = this;
    const key = settings.keyFile === null ? { ok: true as const, value: this.o.newKey() } : readKeyFile(settings.keyFile);
    if (!key.ok) return this.fail(EXIT.invalid, `--key-file: ${key.error}`);
    if (settings.adminTokenFile !== null) {
      const token = readTokenFile(settings.adminTokenFile);
      if (!token.ok) return this.fail(EXIT.invalid, `--admin-token-file: ${token.error}`);
      this.token = token.value;
    }
    // Judged before anything is bound: exit 1 means that nothing was.
    const compiled = this.compile(state.set);
    const problems = problemsOf(state, compiled);
    if (blocks(problems, compiled, null)) return this.invalid(problems);
    logProblems(this.log, problems);
    const service = this.createService(key.value);
    this.service = service;
    const bound = await this.startServers(service);
    if (bound !== null) return bound;
    const started = await Promise.race([service.start(compiled, problems), stopping.first]);
    if (started === null) return EXIT.ok;
    if (!started.ok) return this.startFailed(started, compiled);
    await Promise.race([service.whenServing(), stopping.first]);
    this.ready(service);
    await stopping.first;
    return Promise.race([this.drain(service), stopping.second]);
  }

  changed(state: SourceState): void {
    this.service?.changed(state);
  }

  async end(): Promise<void> {
    this.service?.stop();
    await Promise.all([this.source.stop(), ...this.servers.map((server) => server.close())]);
    this.service?.fleet.killAll();
    await this.logs.flush();
  }

  private createService(installationKey: Uint8Array): Service {
    const { settings, log } = this;
    const script = import.meta.url.endsWith('.ts') ? '../../worker.ts' : '../../worker.js';
    const deny = [...ALWAYS_DENIED, ...settings.endpointDeny];
    return new Service({
      clock: systemClock,
      log,
      cells: this.cells,
      workers: workerCount(settings),
      start: {
        workers: workerCount(settings),
        nodeId: nodeNumber(settings.nodeName ?? hostname()),
        installationKey,
        engine: settings.engine,
        udpReceiveBuffer: settings.udpReceiveBuffer,
        udpSendBuffer: settings.udpSendBuffer,
        maxConnections: settings.maxConnections,
        accessLog: settings.accessLog,
        metricsDetail: settings.metricsDetail,
        endpointDeny: deny,
        allowLoopbackEndpoints: true,
        logLevel: settings.logLevel,
      },
      maxConnections: settings.maxConnections,
      deny,
      metricsDetail: settings.metricsDetail,
      spawn: forkWorkers(new URL(script, import.meta.url), (worker, line) => log.warn('worker output', { worker, line })),
      compile: this.compile,
      resolve: systemResolve(),
      checks: (certificate) =>
        http2Checks({ deny: new DenyList(deny), clock: systemClock, certificate, onInternalError: (where, e) => this.defect(where, e) }),
      random: Math.random,
      access: (lines) => this.logs.access(lines),
      onSettings: (state) => this.takeOver(state),
      build: { version: packageVersion(), node: process.versions.node },
    });
  }

  private async startServers(service: Service): Promise<number | null> {
    const { settings } = this;
    const processMetrics = createProcessMetrics();
    const metrics = await this.startServer(
      '--metrics',
      settings.metrics,
      probeRoutes(service, service.families, () => processMetrics.read()),
      METRICS_CONNECTIONS,
      false,
    );
    if (typeof metrics === 'number') return metrics;
    const admin = await this.startServer('--admin', settings.admin, adminRoutes(service), ADMIN_CONNECTIONS, true);
    return typeof admin === 'number' ? admin : null;
  }

  private async startServer(
    flag: string,
    address: HostPort | null,
    routes: ReadonlyMap<string, Route>,
    maxConnections: number,
    admin: boolean,
  ): Promise<number | null> {
    if (address === null) return null;
    try {
      const server = await startServer({
        address,
        routes,
        maxConnections,
        checkHost: admin,
        hostNames: [(this.settings.nodeName ?? hostname()).toLowerCase()],
        token: () => (admin ? this.token : null),
        onError: (e) => this.defect('admin', e),
      });
      this.servers.push(server);
      this.bound[admin ? 'admin' : 'metrics'] = formatHostPort(server.address);
      return null;
    } catch (e) {
      const holder = await holderOf('tcp', address.port);
      const why = e instanceof Error ? e.message : String(e);
      return this.fail(
        EXIT.bind,
        `${flag}: ${formatHostPort(address)} cannot be bound: ${why}${holder === null ? '' : `, held by ${holder}`}`,
      );
    }
  }

  private readonly bound: { metrics: string | null; admin: string | null } = { metrics: null, admin: null };

  private ready(service: Service): void {
    const facts = service.fleet.facts()[0];
    this.log.always('ready', {
      listeners: service.model.addresses(),
      metrics: this.bound.metrics,
      admin: this.bound.admin,
      workers: workerCount(this.settings),
      engine: facts?.engine ?? '',
      engineVersion: facts?.engineVersion ?? '',
      version: packageVersion(),
      pid: process.pid,
    });
  }

  private invalid(problems: readonly Problem[]): number {
    for (const p of problems) {
      // People look for `file:line:column: ...`, as `check` prints it.
      if (this.logs.format === 'plain') this.o.io.stderr(`${p.severity === 'warning' ? 'warning: ' : ''}${problemLine(p)}\n`);
      else this.log.at(p.severity === 'error' ? 'error' : 'warn', 'configuration problem', { problem: problemLine(p) });
    }
    return this.fail(EXIT.invalid, `${this.o.config}: the configuration is invalid, nothing was bound`);
  }

  private async startFailed(started: Exclude<Start, { ok: true }>, compiled: Compiled): Promise<number> {
    if (started.kind === 'bind') return this.fail(EXIT.bind, await bindMessage(started.loads, compiled));
    if (started.kind === 'engine') return this.fail(EXIT.engine, `the QUIC engine is not available: ${started.why}`);
    return this.fail(EXIT.invalid, started.why);
  }

  private fail(code: number, message: string): number {
    if (this.logs.format === 'plain') this.o.io.stderr(`spooky serve: ${message}\n`);
    else this.log.error('cannot serve', { why: message, exit: code });
    return code;
  }

  /** Takes over what can change while running, and names what cannot. */
  private takeOver(state: SourceState): void {
    const next = this.o.settingsWith(state.settings);
    if (!next.ok) {
      for (const p of next.error) this.log.error('setting not taken over', { setting: p.source, why: p.message });
      return;
    }
    const waiting = changedSettings(this.settings, next.value).filter((name) => !LIVE_SETTINGS.has(name));
    if (waiting.length > 0) this.log.warn('settings that change at the next start only', { settings: waiting });
    const { logLevel, drainDelay, drainTimeout } = next.value;
    this.settings = { ...this.settings, logLevel, drainDelay, drainTimeout };
    if (logLevel !== this.log.level()) this.service?.setLevel(logLevel);
  }

  private async drain(service: Service): Promise<number> {
    const { drainDelay, drainTimeout } = this.settings;
    this.log.info('draining', { delayMs: drainDelay, timeoutMs: drainTimeout });
    service.beginDrain();
    if (drainDelay > 0) await new Promise<void>((resolve) => systemClock.after(drainDelay, resolve));
    await service.drain(drainTimeout);
    this.log.info('drained');
    return EXIT.ok;
  }

  private signals(): { readonly first: Promise<null>; readonly second: Promise<number> } {
    let count = 0;
    let onFirst: (value: null) => void = () => {};
    let onSecond: (code: number) => void = () => {};
    const first = new Promise<null>((resolve) => (onFirst = resolve));
    const second = new Promise<number>((resolve) => (onSecond = resolve));
    const stop = (): void => {
      count++;
      if (count === 1) onFirst(null);
      else onSecond(EXIT.ok);
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    process.on('SIGHUP', () => this.reread());
    return { first, second };
  }

  private reread(): void {
    this.log.info('reading the configuration again');
    try {
      this.logs.reopen();
    } catch (e) {
      this.log.error('log file not opened again', { error: e });
    }
    if (this.settings.adminTokenFile !== null) {
      const token = readTokenFile(this.settings.adminTokenFile);
      if (token.ok) this.token = token.value;
      else this.log.error('admin token not read, the last one stays', { why: token.error });
    }
    this.source.reread();
  }

  private catchDefects(): void {
    process.on('uncaughtException', (e) => this.defect('main', e));
    process.on('unhandledRejection', (e) => this.defect('main', e));
  }

  private defect(where: string, e: unknown): void {
    this.cells.add(this.cells.row('internal_errors_total', where), 1);
    this.log.error('internal error', { where, error: e });
  }
}

const bindMessage = async (loads: readonly WorkerLoad[], compiled: Compiled): Promise<string> => {
  const ports = new Map<string, number>();
  for (const part of compiled.parts.values()) if (part.kind === 'listener') ports.set(`${part.namespace}/${part.name}`, part.port);
  const lines = new Set<string>();
  for (const p of loads.flatMap((load) => load.problems)) {
    if (p.kind !== 'bind') continue;
    const holder = p.code === 'EADDRINUSE' ? await holderOf('udp', ports.get(p.listener) ?? 0) : null;
    lines.add(`listener ${p.listener}, port ${ports.get(p.listener) ?? '?'}: ${p.message}${holder === null ? '' : `, held by ${holder}`}`);
  }
  return `an address cannot be bound: ${[...lines].join('; ')}`;
};
