/** Where lines go: logs to standard error or a file, the access log to standard output, none of them ever waited for. */
import { closeSync, openSync } from 'node:fs';
import type { Cells } from '../../contract/cells.ts';
import { fdSink, LineWriter, sameFile, type LineSink } from '../../lib/lines.ts';
import { createLog, type Log, type LogFormat } from '../../lib/log.ts';
import type { ServeSettings } from '../../settings.ts';

const LOG_BYTES = 4 * 1024 * 1024;
const ACCESS_BYTES = 4 * 1024 * 1024;
const FLUSH_MS = 1000;

export interface Logs {
  readonly log: Log;
  readonly format: LogFormat;
  access(lines: string): void;
  /** After the file was moved away. */
  reopen(): void;
  flush(): Promise<void>;
}

/** Throws when the file cannot be opened. */
export const openLogs = (settings: ServeSettings, cells: Cells): Logs => {
  const dropped = { log: cells.row('log_lines_dropped_total', 'log'), access: cells.row('log_lines_dropped_total', 'access') };
  let fd = settings.logFile === null ? 2 : openSync(settings.logFile, 'a', 0o640);
  const out: LineSink = fdSink(1);
  const logLines = new LineWriter(settings.logFile === null && sameFile(1, 2) ? out : fdSink(fd), LOG_BYTES, (n) =>
    cells.add(dropped.log, n),
  );
  const accessLines = new LineWriter(out, ACCESS_BYTES, (n) => cells.add(dropped.access, n));
  const terminal = settings.logFile === null && process.stderr.isTTY;
  const format = settings.logFormat ?? (terminal ? 'plain' : 'json');
  const log = createLog({ level: settings.logLevel, format, write: (line) => logLines.write(line), wall: Date.now });
  const reopen = (): void => {
    if (settings.logFile === null) return;
    const old = fd;
    fd = openSync(settings.logFile, 'a', 0o640);
    logLines.reopen(fdSink(fd));
    // Not at once: a batch may be on its way to it.
    setTimeout(closeSync, FLUSH_MS, old).unref();
  };
  return {
    log,
    format,
    access: (lines) => accessLines.write(lines),
    reopen,
    flush: async () => {
      await Promise.all([logLines.flush(FLUSH_MS), accessLines.flush(FLUSH_MS)]);
    },
  };
};
