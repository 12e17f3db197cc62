/** The access log: one JSON object a line, put together by hand because it may be written for every request. */
export type AccessLogMode = 'off' | 'errors' | 'all';

const VALUE_MAX = 1024;
const BATCH_MAX = 32 * 1024;

export class AccessLog {
  readonly mode: AccessLogMode;
  private readonly write: (lines: string) => void;
  private readonly onError: (e: unknown) => void;
  private lines = '';
  private scheduled = false;
  private readonly flushLater = (): void => {
    this.scheduled = false;
    this.flush();
  };

  constructor(mode: AccessLogMode, write: (lines: string) => void, onError: (e: unknown) => void) {
    this.mode = mode;
    this.write = write;
    this.onError = onError;
  }

  wants(status: number, ok: boolean): boolean {
    return this.mode !== 'off' && (this.mode === 'all' || !ok || status >= 500);
  }

  /** A whole line without its end. Lines of one turn leave together. */
  add(line: string): void {
    this.lines += `${line}\n`;
    if (this.lines.length >= BATCH_MAX) this.flush();
    else if (!this.scheduled) {
      this.scheduled = true;
      setImmediate(this.flushLater);
    }
  }

  flush(): void {
    if (this.lines === '') return;
    const lines = this.lines;
    this.lines = '';
    try {
      this.write(lines);
    } catch (e) {
      this.onError(e);
    }
  }
}

/**
 * A JSON string of what a client sent: cut at a limit, and everything but printable ASCII escaped, so that no value can end a line,
 * move a terminal's cursor, or be taken for another character.
 */
export function quoted(value: string | null): string {
  if (value === null) return 'null';
  const cut = value.length > VALUE_MAX ? value.slice(0, VALUE_MAX) : value;
  return isPlain(cut) ? `"${cut}"` : escaped(cut);
}

function isPlain(s: string): boolean {
  for (let i = 0; i < s.length; i++) {
    const c = s.charCodeAt(i);
    if (c < 0x20 || c > 0x7e || c === 0x22 || c === 0x5c) return false;
  }
  return true;
}

function escaped(s: string): string {
  let out = '"';
  for (let i = 0; i < s.length; i++) {
    const c = s.charCodeAt(i);
    if (c === 0x22 || c === 0x5c) out += `\\${s[i]}`;
    else if (c >= 0x20 && c <= 0x7e) out += s[i];
    else out += `\\u${c.toString(16).padStart(4, '0')}`;
  }
  return `${out}"`;
}

/** Milliseconds with three decimals at most. */
export function millis(ms: number): string {
  return ms < 0 ? 'null' : String(Math.round(ms * 1000) / 1000);
}
