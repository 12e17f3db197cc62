/** Node's own, which its types leave out. */
interface Native {
  latin1Slice(start: number, end: number): string;
  utf8Write(text: string, at: number, most: number): number;
}

const { latin1Slice, utf8Write } = Buffer.prototype as unknown as Native;

/** One character per byte. A native call costs more than a few characters do. */
export function latin1(buf: Uint8Array, start: number, end: number): string {
  if (end - start > 8) return latin1Slice.call(buf, start, end);
  let text = '';
  for (let i = start; i < end; i++) text += String.fromCharCode(buf[i] as number);
  return text;
}

/** "?": what a character beyond latin-1 becomes, so that it cannot turn into another byte. */
const NOT_LATIN1 = 0x3f;
/** From so many characters on, a native call costs less than they do one by one. */
const LOOP_CHARS = 24;
/** No character takes more. */
const LONGEST_CHAR = 4;

/** One byte per character; returns the offset behind. The caller has made room; a few bytes behind may be touched as well. */
export function writeLatin1(out: Uint8Array, at: number, text: string): number {
  const n = text.length;
  const most = n + LONGEST_CHAR;
  // As many bytes as characters: it was all ASCII, and UTF-8 is the same. With room for one character more, no other text comes to that.
  if (n > LOOP_CHARS && out.length - at >= most && utf8Write.call(out, text, at, most) === n) return at + n;
  for (let i = 0; i < n; i++) {
    const c = text.charCodeAt(i);
    out[at + i] = c > 0xff ? NOT_LATIN1 : c;
  }
  return at + n;
}
