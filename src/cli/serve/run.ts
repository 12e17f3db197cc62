/** One run of `serve`, from the first read of the configuration to the last line of the log. */
import { hostname } from 'node:os';
import { Cells } from '../../contract/cells.ts';
import type { SettingsDocument } from '../../contract/resources/index.ts';
import { Families } from '../../control/admin/families.ts';
import { Claims } from '../../control/claims.ts';
import { forkWorkers } from '../../control/fork.ts';
import { http2Checks } from '../../control/health/http2.ts';
import { holderOf } from '../../control/holder.ts';
import type { Spawn } from '../../control/life.ts';
import type { RuntimeFolder } from '../../control/runtime.ts';
import { logProblems } from '../../control/report.ts';
import { blocks, problemsOf } from '../../control/problems.ts';
import { Service } from '../../control/service.ts';
import { Numbers } from '../../control/numbers.ts';
import { machineOf, workerCount, workerMemory, type WorkerCount, type WorkerMemory } from '../../control/size.ts';
import { systemResolve } from '../../control/sources/dns.ts';
import type { SourceState } from '../../control/sources/source.ts';
import { systemClock } from '../../lib/clock.ts';
import { ALWAYS_DENIED, DenyList, LOOPBACK } from '../../lib/deny.ts';
import { collectWhenIdle, processCollector, processUtilization } from '../../lib/idle.ts';
import type { Log } from '../../lib/log.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import type { Secret } from '../../lib/secret.ts';
import { changedSettings, LIVE_SETTINGS, type ServeSettings, type SettingProblem } from '../../settings.ts';
import { EXIT, type CommandIo } from '../command.ts';
import { packageVersion } from '../package.ts';
import { serveSignals } from '../signals.ts';
import { nodeNumber, readKeyFile, readTokenAgain, readTokenFile } from './files.ts';
import { openLogs, type Logs } from './logs.ts';
import type { Feed, Mode } from './mode.ts';
import { notifyReady } from './notify.ts';
import { openFolder } from './place.ts';
import { Refusal } from './refusal.ts';
import { Servers } from './servers.ts';
import { Succession, type Identity } from './takeover.ts';

const NO_WORKERS = { count: 0, why: 'this role has none' } as const;
const NEVER = new Promise<never>(() => {});
/** How long a drain waits for what the cluster is still to be told. */
const RELEASE_MS = 2000;

export interface RunOptions {
  readonly mode: Mode;
  /** From flags and environment alone. */
  readonly settings: ServeSettings;
  readonly settingsWith: (document: SettingsDocument | null) => Result<ServeSettings, readonly SettingProblem[]>;
  readonly io: CommandIo;
  readonly newKey: () => Uint8Array;
}

export const runServe = async (o: RunOptions): Promise<number> => {
  const early = await o.mode.early();
  const settings = o.settingsWith(early?.settings ?? null);
  const cells = new Cells();
  const fail = async (lines: readonly string[]): Promise<number> => {
    for (const line of lines) o.io.stderr(`spooky serve: ${line}\n`);
    await o.mode.close();
    return EXIT.invalid;
  };
  if (!settings.ok) return fail(settings.error.map((p) => `${p.source}: ${p.message}`));
  let logs: Logs;
  try {
    logs = openLogs(settings.value, cells);
  } catch (e) {
    return fail([`--log-file: ${e instanceof Error ? e.message : String(e)}`]);
  }
  const run = new Run(o, settings.value, logs, cells);
  try {
    return await run.main();
  } catch (e) {
    run.defect('main', e);
    return EXIT.failed;
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
  private readonly families = new Families();
  private readonly feed: Feed;
  private readonly machine = machineOf();
  private readonly workers: WorkerCount;
  private readonly memory: WorkerMemory;
  private readonly servers: Servers;
  private readonly refusal: Refusal;
  private service: Service | null = null;
  private token: Secret | null = null;
  private readonly numbers = new Numbers(() => this.succession?.recount());
  private readonly claims = new Claims(systemClock);
  private readonly succession: Succession | null;
  private folder: RuntimeFolder | null = null;
  private stopCollecting = (): void => {};

  constructor(o: RunOptions, settings: ServeSettings, logs: Logs, cells: Cells) {
    this.o = o;
    this.settings = settings;
    this.logs = logs;
    this.log = logs.log;
    this.cells = cells;
    this.refusal = new Refusal(logs, o.io);
    this.workers = o.mode.serves ? workerCount(settings.workers, this.machine) : NO_WORKERS;
    this.memory = workerMemory(settings.workerMemory, this.workers.count, this.machine);
    this.servers = new Servers({ settings, token: () => this.token, defect: (where, e) => this.defect(where, e) });
    this.succession =
      settings.takeover === null
        ? null
        : new Succession({
            path: settings.takeover,
            clock: systemClock,
            log: logs.log,
            version: packageVersion(),
            numbers: this.numbers,
            claims: this.claims,
            servers: this.servers,
          });
    this.feed = o.mode.open({ clock: systemClock, log: logs.log, families: this.families, defect: (where, e) => this.defect(where, e) });
  }

  async main(): Promise<number> {
    this.catchDefects();
    this.collectGarbage();
    const stopping = serveSignals(() => this.reread());
    const { settings } = this;
    if (settings.adminTokenFile !== null) {
      const token = readTokenFile(settings.adminTokenFile);
      if (!token.ok) return this.refusal.because(EXIT.invalid, `--admin-token-file: ${token.error}`);
      this.token = token.value;
    }
    const identity = await this.identify();
    if (!identity.ok) return this.refusal.because(EXIT.invalid, identity.error);
    this.folder = identity.value.folder;
    const service = this.createService(identity.value);
    this.service = service;
    // A cluster may keep everybody waiting: the probes say so meanwhile. Files are judged before anything is bound: exit 1 means that nothing was.
    if (this.o.mode.perObject) {
      const fault = await this.servers.start(service);
      if (fault !== null) return this.refusal.because(EXIT.bind, fault);
      this.log.info('probes answer', this.servers.bound);
    }
    const state = await Promise.race([this.feed.start((next) => service.changed(next)), stopping.first]);
    if (state === null) return EXIT.ok;
    const compiled = this.feed.compile(state.set);
    const problems = problemsOf(state, compiled, this.o.mode.perObject ? null : systemClock.wall());
    if (!this.o.mode.perObject && blocks(problems, compiled, null)) return this.refusal.invalid(this.o.mode.name, problems);
    logProblems(this.log, problems);
    const takesOver = this.succession?.tookOverFrom ?? null;
    if (!this.o.mode.perObject && takesOver === null) {
      const fault = await this.servers.start(service);
      if (fault !== null) return this.refusal.because(EXIT.bind, fault);
    }
    const started = await Promise.race([service.start(compiled, problems, state), stopping.first]);
    if (started === null) return this.retreat(service, EXIT.ok);
    if (!started.ok) return this.retreat(service, await this.refusal.of(started, compiled));
    const serving = await Promise.race([service.whenServing().then(() => true), stopping.first]);
    if (serving === null && takesOver !== null) return this.retreat(service, EXIT.ok);
    if (serving !== null && this.succession !== null) {
      const refused = await this.takeOver(this.succession, service, identity.value, takesOver !== null, stopping.first);
      if (refused !== null) return this.retreat(service, refused);
    }
    if (serving !== null) {
      this.ready(service, takesOver);
      notifyReady(this.o.io.env, this.log);
      this.feed.serving();
    }
    const handed = await Promise.race([stopping.first.then(() => false), this.handed.then(() => true)]);
    const drained = this.drain(service, handed);
    const ended = handed ? drained.then((code) => Promise.race([this.outlast(service), stopping.first.then(() => code)])) : drained;
    return Promise.race([ended, stopping.second.then(() => EXIT.ok)]);
  }

  /** Leaves the field to the process that was to be taken over from, if any. */
  private async retreat(service: Service, code: number): Promise<number> {
    await this.succession?.retreat(service, this.settings.drainTimeout);
    return code;
  }

  /** Key, number, engine and folder: as this process was told, or as the one says that it takes over from. */
  private async identify(): Promise<Result<Identity, string>> {
    const { settings } = this;
    const key = settings.keyFile === null ? { ok: true as const, value: this.o.newKey() } : readKeyFile(settings.keyFile);
    if (!key.ok) return err(`--key-file: ${key.error}`);
    const nodeId = nodeNumber(this.o.mode.nodeId ?? settings.nodeName ?? hostname());
    if (this.succession !== null) {
      const offer = await this.succession.ask(this.workers.count);
      if (!offer.ok) return offer;
      const own = { key: settings.keyFile === null ? null : key.value, nodeId };
      if (offer.value !== null) return this.succession.inherit(offer.value, settings, own);
    }
    const folder = await this.openFolder();
    return folder.ok ? ok({ installationKey: key.value, nodeId, engine: settings.engine, folder: folder.value }) : folder;
  }

  /** One worker that nobody is to take over from does without. */
  private async openFolder(): Promise<Result<RuntimeFolder | null, string>> {
    const { runtimeDir } = this.settings;
    if (this.workers.count === 0) return ok(null);
    const folder = await openFolder(runtimeDir, this.o.io.env);
    if (folder.ok || this.workers.count > 1 || runtimeDir !== null || this.succession !== null) return folder;
    this.log.info('the worker stays alone', { why: folder.error });
    return ok(null);
  }

  /** The addresses that only one process has change hands; without another process there is only the socket for the next one. */
  private async takeOver(
    succession: Succession,
    service: Service,
    identity: Identity,
    fromAnother: boolean,
    stop: Promise<null>,
  ): Promise<number | null> {
    let done = false;
    const stopped = stop.then(() => {
      // The other one goes on then.
      if (!done) succession.abandon();
      return EXIT.ok;
    });
    const ended = await Promise.race([this.takeAddresses(succession, service, identity, fromAnother), stopped]);
    done = true;
    return ended;
  }

  private async takeAddresses(succession: Succession, service: Service, identity: Identity, fromAnother: boolean): Promise<number | null> {
    const free = await succession.takeAddresses(service);
    // Told to end meanwhile: the one before takes again what it has released.
    if (succession.isOver) return EXIT.ok;
    if (!free.ok) return this.refusal.because(EXIT.invalid, free.error);
    const fault = (fromAnother ? await this.servers.start(service) : null) ?? (await succession.claim());
    if (fault !== null) return this.refusal.because(EXIT.bind, fault);
    const refused = await succession.establish(service, identity);
    return refused === null ? null : this.refusal.because(EXIT.invalid, refused);
  }

  /** Another process serves instead of this one. */
  private get handed(): Promise<null> {
    return this.succession?.handed ?? NEVER;
  }

  /** At once, for 15 to 35 ms: of a part of a core that is more than the kernel gives for one period, and probes would wait for the next ones. */
  private collectGarbage(): void {
    const cores = this.machine.quota?.value ?? 1;
    if (cores < 1) return;
    this.stopCollecting = collectWhenIdle({ clock: systemClock, utilization: processUtilization, collect: processCollector(true) });
  }

  async end(): Promise<void> {
    this.stopCollecting();
    this.service?.stop();
    await Promise.all([this.feed.stop(), this.servers.close()]);
    this.service?.fleet.killAll();
    for (const number of this.numbers.inUse()) this.folder?.forget(number);
    await this.folder?.leave();
    this.succession?.close();
    await this.logs.flush();
  }

  private createService(identity: Identity): Service {
    const { settings, log } = this;
    const script = import.meta.url.endsWith('.ts') ? '../../worker.ts' : '../../worker.js';
    const { mode } = this.o;
    const deny = [...ALWAYS_DENIED, ...(mode.allowLoopback ? [] : LOOPBACK), ...mode.deny, ...settings.endpointDeny];
    const { count: workers, why: workersWhy } = this.workers;
    return new Service({
      clock: systemClock,
      log,
      cells: this.cells,
      families: this.families,
      workers,
      workersWhy,
      numbers: this.numbers,
      memory: { ...this.memory, relievable: identity.folder !== null },
      drainTimeout: () => this.settings.drainTimeout,
      onGone: (number) => this.folder?.forget(number),
      onNumbers: (numbers) => this.succession?.renumbered(numbers),
      start: {
        workers,
        nodeId: identity.nodeId,
        installationKey: identity.installationKey,
        handover: identity.folder === null ? null : { folder: identity.folder.path },
        engine: identity.engine,
        udpReceiveBuffer: settings.udpReceiveBuffer,
        udpSendBuffer: settings.udpSendBuffer,
        accessLog: settings.accessLog,
        metricsDetail: settings.metricsDetail,
        endpointDeny: deny,
        allowLoopbackEndpoints: mode.allowLoopback,
        logLevel: settings.logLevel,
      },
      maxConnections: settings.maxConnections,
      deny,
      metricsDetail: settings.metricsDetail,
      spawn: this.spawn(new URL(script, import.meta.url)),
      compile: (set) => this.feed.compile(set),
      resolve: systemResolve(),
      services: this.feed.endpoints,
      perObject: mode.perObject,
      pending: () => this.feed.pending(),
      onReport: (report) => this.feed.report(report),
      checks: (certificate) =>
        http2Checks({ deny: new DenyList(deny), clock: systemClock, certificate, onInternalError: (where, e) => this.defect(where, e) }),
      holder: (port) => holderOf('udp', port),
      random: Math.random,
      access: (lines) => this.logs.access(lines),
      claims: identity.folder === null ? null : this.claims,
      onSettings: (state) => this.takeUp(state),
      build: { version: packageVersion(), node: process.versions.node },
    });
  }

  /** Without their folder they could not bind. */
  private spawn(script: URL): Spawn {
    const fork = forkWorkers(script, this.machine.quota !== null);
    return (number, events) => {
      if (this.folder?.restore() === true)
        this.log.warn('the folder in which workers find each other was gone, and is made anew', {
          folder: this.folder.path,
          means: 'clients of workers that began before lose their connections when their addresses change',
          todo: 'a --runtime-dir where nobody removes it; until the next start, or take-over, it stays like that',
        });
      return fork(number, events);
    };
  }

  private ready(service: Service, from: number | null): void {
    this.log.always('ready', {
      listeners: service.model.addresses(),
      metrics: this.servers.bound.metrics,
      admin: this.servers.bound.admin,
      workers: service.fleet.count,
      workersWhy: service.workersWhy,
      engine: service.fleet.engine,
      engineVersion: service.fleet.engineVersion,
      version: packageVersion(),
      pid: process.pid,
      ...(from === null ? {} : { tookOverFrom: from }),
    });
  }

  /** Takes over what can change while running, and names what cannot. */
  private takeUp(state: SourceState): void {
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

  /** `handed`: nobody new comes here any more, so there is nothing to wait for. */
  private async drain(service: Service, handed: boolean): Promise<number> {
    const { drainTimeout } = this.settings;
    const drainDelay = handed ? 0 : this.settings.drainDelay;
    this.log.info('draining', { delayMs: drainDelay, timeoutMs: drainTimeout });
    service.beginDrain();
    await Promise.race([this.feed.drain(), new Promise<void>((resolve) => systemClock.after(RELEASE_MS, resolve))]);
    if (drainDelay > 0) await Promise.race([new Promise<void>((resolve) => systemClock.after(drainDelay, resolve)), this.handed]);
    await service.drain(drainTimeout);
    this.log.info('drained');
    return EXIT.ok;
  }

  /** A chain of processes must not lose its middle: without it the first would go on to bring newcomers to workers that have been succeeded. */
  private async outlast(service: Service): Promise<number> {
    const before = this.succession?.before ?? null;
    if (before === null) return EXIT.ok;
    service.stop();
    this.log.info(`waiting for pid ${before.pid}, which drains still`, { for: before.pid });
    await before.gone;
    return EXIT.ok;
  }

  private reread(): void {
    this.log.info('reading the configuration again');
    try {
      this.logs.reopen();
    } catch (e) {
      this.log.error('log file not opened again', { error: e });
    }
    if (this.settings.adminTokenFile !== null) {
      const token = readTokenAgain(this.settings.adminTokenFile);
      if (token.ok) this.token = token.value;
      else this.log.error('admin token not read, the last one stays', { why: token.error });
    }
    this.feed.reread();
  }

  private catchDefects(): void {
    process.on('uncaughtException', (e) => this.defect('main', e));
    process.on('unhandledRejection', (e) => this.defect('main', e));
  }

  defect(where: string, e: unknown): void {
    this.cells.add(this.cells.row('internal_errors_total', where), 1);
    this.log.error('internal error', { where, error: e });
  }
}
