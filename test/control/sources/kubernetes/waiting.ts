/** Waits for what a test expects, with a bound. */
const BOUND_MS = 10_000;

export const until = async (what: string, holds: () => boolean): Promise<void> => {
  const end = performance.now() + BOUND_MS;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
};

/** Lets sockets speak for a moment: for what must not happen. */
export const quiet = (ms = 50): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
