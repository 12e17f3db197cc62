/** Tells systemd that this process serves (`Type=notify`), by systemd's own tool: Node has no Unix datagrams. */
import { execFile } from 'node:child_process';
import type { Log } from '../../lib/log.ts';

const TIMEOUT_MS = 10_000;

export const notifyReady = (env: Readonly<Record<string, string | undefined>>, log: Log): void => {
  if ((env['NOTIFY_SOCKET'] ?? '') === '') return;
  execFile('systemd-notify', ['--ready', `--pid=${process.pid}`], { timeout: TIMEOUT_MS, env }, (error) => {
    if (error === null) return;
    log.warn('systemd was not told that this process is ready', {
      why: error.message,
      todo: 'systemd-notify has to be in PATH, and NotifyAccess=all in the unit; or Type=exec',
    });
  });
};
