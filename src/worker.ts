/** A worker process: translates the channel's messages to the edge and back. Ends with the main process. */
import { Cells, type Row, type RowReading } from './contract/cells.ts';
import type { EndpointActivity, FromWorker, ToWorker, WorkerStart } from './contract/channel.ts';
import { ListJoin, type Piece } from './contract/pieces.ts';
import type { PartHash } from './contract/snapshot/parts.ts';
import { cpuQuota } from './control/cgroup.ts';
import { readText } from './control/size.ts';
import { createEdge, type Edge } from './edge/proxy/edge.ts';
import { chooseEngine, engineEnvironment } from './edge/quic/index.ts';
import { systemClock } from './lib/clock.ts';
import { refuseDebugger } from './lib/debugger.ts';
import { collectWhenIdle, processCollector, processUtilization } from './lib/idle.ts';
import { LEVELS, parseLevel, type Level } from './lib/level.ts';
import { paceShare, processPace } from './lib/pace.ts';
import { helpersStandBack } from './lib/threads.ts';

const HEARTBEAT_MS = 250;
const SLICE_ROWS = 200;
const SLICE_BYTES = 60 * 1024;
/** What may wait for main, in bytes of lines: beyond, lines are dropped and counted. */
const MAX_LINES_WAITING = 4 * 1024 * 1024;
const MAX_PROBLEMS = 100;
const EXIT_ENGINE = 4;
const FAULT_DRAIN_MS = 1000;
/** A quota may change while it holds. */
const QUOTA_MS = 10_000;

const cells = new Cells();
const delayRow = cells.row('worker_event_loop_delay_seconds');
const fallbackRow = cells.row('engine_fallback');
const droppedRows: Readonly<Record<'log' | 'access', Row>> = {
  log: cells.row('log_lines_dropped_total', 'log'),
  access: cells.row('log_lines_dropped_total', 'access'),
};

let edge: Edge | null = null;
let threshold: Level = 'info';
let waitingLines = 0;
const chunks = new Map<PartHash, Uint8Array[]>();
const lists = new ListJoin();
/** Loads and switches take effect in the order of their messages. */
let order: Promise<void> = Promise.resolve();

const send = (message: FromWorker, done: () => void = () => {}): void => {
  if (process.connected) process.send?.(message, done);
};

const sendLines = (message: FromWorker, stream: 'log' | 'access', bytes: number, lines: number): void => {
  if (waitingLines + bytes > MAX_LINES_WAITING) {
    cells.add(droppedRows[stream], lines);
    return;
  }
  waitingLines += bytes;
  send(message, () => {
    waitingLines -= bytes;
  });
};

const log = (level: string, msg: string, fields: Readonly<Record<string, unknown>> = {}): void => {
  if (LEVELS.indexOf(parseLevel(level) ?? 'info') < LEVELS.indexOf(threshold)) return;
  sendLines({ type: 'log', level, msg, fields }, 'log', 500 + msg.length, 1);
};

/** Lines as the edge batched them, cut where a line ends so that no message passes the channel's limit. */
const access = (lines: string): void => {
  let at = 0;
  while (at < lines.length) {
    let end = lines.length;
    if (end - at > SLICE_BYTES) {
      const cut = lines.lastIndexOf('\n', at + SLICE_BYTES);
      end = cut < at ? lines.indexOf('\n', at) + 1 || lines.length : cut + 1;
    }
    const slice = lines.slice(at, end);
    let count = 0;
    for (let i = slice.indexOf('\n'); i >= 0; i = slice.indexOf('\n', i + 1)) count++;
    sendLines({ type: 'access', lines: slice }, 'access', slice.length, count);
    at = end;
  }
};

const defect = (where: string, e: unknown): void => {
  cells.add(cells.row('internal_errors_total', where), 1);
  const error = e instanceof Error ? (e.stack ?? e.message) : String(e);
  log('error', 'internal error', { where, error: error.slice(0, 4000) });
};

/** The endpoint of a listener is dead: what still works may finish, then another process takes our place. */
const faulted = (message: string): void => {
  send({ type: 'fault', message });
  const exit = (): void => process.exit(1);
  if (edge === null) exit();
  else edge.drain(FAULT_DRAIN_MS).then(exit, exit);
};

/** Switches for debugging, which nobody should leave on: said by one worker for all. */
const warnOfDebugging = (speaks: boolean, debugging: ReturnType<typeof engineEnvironment>): void => {
  if (!speaks) return;
  const { keylog, qlog } = debugging;
  if (keylog !== undefined)
    log('warn', 'TLS secrets are written to a file', {
      file: keylog,
      means: 'whoever reads it can decrypt all traffic',
      todo: 'unset SPOOKY_KEYLOG',
    });
  if (qlog !== undefined)
    log('warn', 'every packet is logged to a folder', {
      folder: qlog,
      means: 'it costs time and space without limit',
      todo: 'unset SPOOKY_QLOG',
    });
};

/** One worker of several does not know what the others use. */
const keepPace = (workers: number): void => {
  processPace.wanted = () => edge !== null && edge.waiting > 0;
  if (workers > 1) return;
  processPace.share = paceShare(cpuQuota(readText)?.value ?? null, workers);
  systemClock.after(QUOTA_MS, () => keepPace(workers));
};

const start = async (options: WorkerStart): Promise<void> => {
  threshold = parseLevel(options.logLevel) ?? threshold;
  const environment = engineEnvironment(process.env);
  const chosen = await chooseEngine(options.engine, { onInternalError: defect, ...environment });
  warnOfDebugging(options.speaks, environment);
  keepPace(options.workers);
  edge = createEdge({
    engine: chosen.engine,
    clock: systemClock,
    start: options,
    cells,
    log,
    access,
    fault: faulted,
    watchOverload: true,
  });
  cells.set(fallbackRow, chosen.fallback ? 1 : 0);
  send({ type: 'hello', engine: chosen.engine.name, engineVersion: chosen.engine.version, fallback: chosen.fallback, why: chosen.why });
};

const begin = (options: WorkerStart): void => {
  start(options).catch((e: unknown) => {
    const message = e instanceof Error ? e.message : String(e);
    send({ type: 'fault', message }, () => process.exit(EXIT_ENGINE));
  });
};

const receivePiece = (piece: Piece): void => {
  const whole = lists.take(piece);
  if (whole !== null) edge?.endpoints([whole]);
};

const receiveChunk = (hash: PartHash, bytes: Uint8Array, last: boolean): void => {
  const pieces = chunks.get(hash) ?? [];
  pieces.push(bytes);
  if (!last) {
    chunks.set(hash, pieces);
    return;
  }
  chunks.delete(hash);
  edge?.part(hash, pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces));
};

const load = async ({ version, listeners, taken }: Extract<ToWorker, { type: 'load' }>): Promise<void> => {
  try {
    if (edge === null) throw new Error('there is no engine yet');
    const { bound, problems } = await edge.load(version, listeners, taken);
    send({ type: 'loaded', version, bound, problems: problems.slice(0, MAX_PROBLEMS) });
  } catch (e) {
    defect('load', e);
    send({ type: 'notLoaded', version, why: e instanceof Error ? e.message : String(e) });
  }
};

const inOrder = (step: () => Promise<void> | void): void => {
  order = order.then(step).catch((e: unknown) => defect('order', e));
};

/** In slices, a turn of the event loop apart: a scrape must not stop traffic. */
const sendSlices = <Item>(items: readonly Item[], make: (slice: readonly Item[], last: boolean) => FromWorker): void => {
  let at = 0;
  const next = (): void => {
    const slice = items.slice(at, at + SLICE_ROWS);
    at += SLICE_ROWS;
    const last = at >= items.length;
    send(make(slice, last));
    if (!last) setImmediate(next);
  };
  next();
};

const rowsToTell = (): RowReading[] => {
  edge?.measure();
  return cells.readUsed();
};

const drain = (timeoutMs: number): void => {
  const done = (): void => send({ type: 'drained' });
  if (edge === null) done();
  else
    edge
      .drain(timeoutMs)
      .catch((e: unknown) => defect('drain', e))
      .finally(done);
};

const receive = (message: ToWorker): void => {
  switch (message.type) {
    case 'start':
      return begin(message.start);
    case 'chunk':
      return receiveChunk(message.hash, message.bytes, message.last);
    case 'parts':
      for (const part of message.parts) edge?.part(part.hash, part.bytes);
      return;
    case 'load':
      return inOrder(() => load(message));
    case 'switch':
      return inOrder(() => {
        edge?.switch(message.version);
        send({ type: 'switched', version: message.version });
      });
    case 'forget':
      edge?.forget(message.hashes);
      return;
    case 'forgetLists':
      edge?.forgetLists(message.groups);
      return;
    case 'piece':
      return receivePiece(message);
    case 'endpoints':
      edge?.endpoints(message.lists);
      return;
    case 'cells':
      return sendSlices<RowReading>(rowsToTell(), (rows, last) => ({
        type: 'cells',
        id: message.id,
        rows,
        last,
      }));
    case 'activity':
      return sendSlices<EndpointActivity>(edge?.activity() ?? [], (endpoints, last) => ({
        type: 'activity',
        id: message.id,
        endpoints,
        last,
      }));
    case 'shares':
      return send({ type: 'shared', id: message.id, uses: edge?.share(message.shares) ?? [] });
    case 'succeed':
      // At once, and again for what a load under way brings: a drain that follows must not refuse whom others take.
      edge?.succeed(message.workers);
      return inOrder(() => edge?.succeed(message.workers));
    case 'level':
      threshold = parseLevel(message.logLevel) ?? threshold;
      return;
    case 'drain':
      return drain(message.timeoutMs);
    case 'exit':
      process.exit(0);
  }
};

const heartbeat = (planned: number): void => {
  const delayMs = Math.max(0, performance.now() - planned);
  cells.observe(delayRow, delayMs / 1000);
  send({ type: 'heartbeat', delayMs, memory: process.memoryUsage.rss() });
  setTimeout(heartbeat, HEARTBEAT_MS, performance.now() + HEARTBEAT_MS);
};

process.on('message', (message) => {
  try {
    receive(message as ToWorker);
  } catch (e) {
    defect('channel', e);
  }
});
// The last net below the boundaries: what arrives here is a defect, and no reason to drop everybody's connections.
process.on('uncaughtException', (e) => defect('uncaught', e));
process.on('unhandledRejection', (e) => defect('rejection', e));
// A terminal's Ctrl-C goes to the whole group: main decides when we end.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
refuseDebugger();
process.on('disconnect', () => process.exit(1));
helpersStandBack();
heartbeat(performance.now());
collectWhenIdle({ clock: systemClock, utilization: processUtilization, collect: processCollector(true) });
