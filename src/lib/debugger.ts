/**
 * USR1, by which other servers open their logs again or drain, would have Node open its debugger: a port at which every user of the machine can have
 * this process run what they like. Only who has asked for one in NODE_OPTIONS gets it.
 */
export function refuseDebugger(): void {
  if (!(process.env['NODE_OPTIONS'] ?? '').includes('--inspect')) process.on('SIGUSR1', () => {});
}
