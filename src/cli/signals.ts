/** Resolves with the first TERM or INT; later ones find no listener of ours and end the process as they do by default. */
export const untilSignal = (): Promise<NodeJS.Signals> =>
  new Promise((resolve) => {
    const done = (signal: NodeJS.Signals): void => {
      process.off('SIGTERM', done);
      process.off('SIGINT', done);
      resolve(signal);
    };
    process.on('SIGTERM', done);
    process.on('SIGINT', done);
  });

let held = false;
const hold = (): void => void (held = true);

/** For `serve`, before what it needs is loaded: a HUP would end the process until then. */
export const holdHup = (): void => void process.on('SIGHUP', hold);

/** The first TERM or INT, the second one, and every HUP; also one that came before. */
export function serveSignals(onHup: () => void): { readonly first: Promise<null>; readonly second: Promise<null> } {
  const [first, second] = [Promise.withResolvers<null>(), Promise.withResolvers<null>()];
  let count = 0;
  const stop = (): void => (++count === 1 ? first : second).resolve(null);
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.on('SIGHUP', onHup);
  process.off('SIGHUP', hold);
  if (held) onHup();
  return { first: first.promise, second: second.promise };
}
