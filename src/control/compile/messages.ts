/** Texts of conditions and events, which have a limit. */

const MESSAGE_BYTES = 1024;

/** At most 1 kB of UTF-8. */
export function clip(text: string): string {
  if (Buffer.byteLength(text) <= MESSAGE_BYTES) return text;
  const cut = Buffer.from(text)
    .subarray(0, MESSAGE_BYTES - 3)
    .toString('utf8')
    .replace(/\ufffd+$/, '');
  return `${cut}...`;
}

/** As many items as fit, and how many more there are. */
export function clipList(prefix: string, items: readonly string[]): string {
  const whole = prefix + items.join('; ');
  if (Buffer.byteLength(whole) <= MESSAGE_BYTES) return whole;
  let shown = '';
  let count = 0;
  for (const item of items) {
    const next = count === 0 ? item : `${shown}; ${item}`;
    if (Buffer.byteLength(prefix + next) > MESSAGE_BYTES - 24) break;
    shown = next;
    count++;
  }
  return count === 0 ? clip(whole) : `${prefix}${shown}; and ${items.length - count} more`;
}
