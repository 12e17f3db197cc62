/** Calls `parse` with every proper prefix of valid bytes, each in a buffer of its own so that reading beyond it shows. */
export function everyPrefix(bytes: Uint8Array, parse: (prefix: Uint8Array, length: number) => void): void {
  for (let length = 0; length < bytes.length; length++) parse(Uint8Array.prototype.slice.call(bytes, 0, length), length);
}

/** Every way to cut bytes into two pieces. */
export function everyCut(bytes: Uint8Array, feed: (first: Uint8Array, second: Uint8Array) => void): void {
  for (let at = 0; at <= bytes.length; at++) {
    feed(Uint8Array.prototype.slice.call(bytes, 0, at), Uint8Array.prototype.slice.call(bytes, at));
  }
}
