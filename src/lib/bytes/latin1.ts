/** Node's own, which its types leave out. */
interface Latin1Slice {
  latin1Slice(start: number, end: number): string;
}

/** One character per byte. A native call costs more than a few characters do. */
export function latin1(buf: Uint8Array, start: number, end: number): string {
  if (end - start > 8) return latin1Slice.call(buf, start, end);
  let text = '';
  for (let i = start; i < end; i++) text += String.fromCharCode(buf[i] as number);
  return text;
}

const latin1Slice = (Buffer.prototype as unknown as Latin1Slice).latin1Slice;
