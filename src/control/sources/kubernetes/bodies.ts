/**
 * Bodies as JSON. A long list is taken apart first and parsed object by object, so that the event loop turns in between: 7 MB of
 * EndpointSlices at once would stop it for 60 ms.
 */

const LARGE = 256 * 1024;
/** So long is worked at a time. */
export const SLICE_MS = 8;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const NONE = -1;

const isSpace = (byte: number | undefined): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

const skipSpace = (bytes: Buffer, from: number): number => {
  let at = from;
  while (isSpace(bytes[at])) at++;
  return at;
};

/** Behind the string that begins at `from`, or NONE. */
const skipString = (bytes: Buffer, from: number): number => {
  for (let at = from + 1; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) return at + 1;
    if (byte === BACKSLASH) at++;
  }
  return NONE;
};

/** Behind the object or list that begins at `from`, or NONE. */
const skipNested = (bytes: Buffer, from: number): number => {
  let depth = 0;
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      at = skipString(bytes, at) - 1;
      if (at < from) return NONE;
    } else if (byte === OPEN || byte === OPEN_LIST) depth++;
    else if ((byte === CLOSE || byte === CLOSE_LIST) && --depth === 0) return at + 1;
  }
  return NONE;
};

/** Where the value of the first `"items"` of the outermost object begins, when that is a list. */
const findItems = (bytes: Buffer): number => {
  let at = skipSpace(bytes, 0);
  if (bytes[at] !== OPEN) return NONE;
  at++;
  while (at < bytes.length) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      const end = skipString(bytes, at);
      if (end === NONE) return NONE;
      const colon = skipSpace(bytes, end);
      const value = skipSpace(bytes, colon + 1);
      const isItems = bytes[colon] === COLON && bytes.toString('latin1', at, end) === '"items"';
      if (isItems) return bytes[value] === OPEN_LIST ? value : NONE;
      at = end;
    } else if (byte === OPEN || byte === OPEN_LIST) {
      at = skipNested(bytes, at);
      if (at === NONE) return NONE;
    } else at++;
  }
  return NONE;
};

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Null: something is not as expected; then all of it is parsed at once, which says what. */
const byItems = async (bytes: Buffer, begin: number): Promise<Readonly<Record<string, unknown>> | null> => {
  const items: unknown[] = [];
  let at = skipSpace(bytes, begin + 1);
  let sliceEnd = performance.now() + SLICE_MS;
  while (bytes[at] !== CLOSE_LIST) {
    if (bytes[at] !== OPEN) return null;
    const end = skipNested(bytes, at);
    if (end === NONE) return null;
    items.push(JSON.parse(bytes.toString('utf8', at, end)));
    at = skipSpace(bytes, end);
    if (bytes[at] === COMMA) {
      at = skipSpace(bytes, at + 1);
      if (bytes[at] === CLOSE_LIST) return null;
    } else if (bytes[at] !== CLOSE_LIST) return null;
    if (performance.now() < sliceEnd) continue;
    await turn();
    sliceEnd = performance.now() + SLICE_MS;
  }
  const envelope: unknown = JSON.parse(`${bytes.toString('utf8', 0, begin)}[]${bytes.toString('utf8', at + 1)}`);
  return { ...(envelope as Readonly<Record<string, unknown>>), items };
};

/** Rejects with a SyntaxError when it is no JSON. Null for no body. */
export const parseBody = async (bytes: Buffer): Promise<unknown> => {
  if (bytes.length === 0) return null;
  if (bytes.length > LARGE) {
    const begin = findItems(bytes);
    const list = begin === NONE ? null : await byItems(bytes, begin);
    if (list !== null) return list;
  }
  return JSON.parse(bytes.toString('utf8')) as unknown;
};
