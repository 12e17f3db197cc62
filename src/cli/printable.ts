/** Text of others, for terminals. */

// Control characters, and those that turn the direction of what stands around them.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

const escapeChar = (c: string): string => {
  const code = c.charCodeAt(0).toString(16);
  return code.length <= 2 ? `\\x${code.padStart(2, '0')}` : `\\u${code.padStart(4, '0')}`;
};

/** A line that a terminal does not act on. */
export const printable = (text: string): string => text.replaceAll(UNSAFE, escapeChar);
