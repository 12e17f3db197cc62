/** Resource versions. They may be compared as integers; they may have more digits than a number holds. */

const DIGITS = /^(?:0|[1-9][0-9]{0,63})$/;

export const isVersion = (text: unknown): text is string => typeof text === 'string' && DIGITS.test(text);

/** Negative when `a` is older. */
export const compareVersions = (a: string, b: string): number => {
  if (a.length !== b.length) return a.length - b.length;
  if (a === b) return 0;
  return a < b ? -1 : 1;
};
