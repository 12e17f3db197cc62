import type { Fields } from './fields.ts';

/**
 * The head of a final answer that a backend's connection repeats byte for byte: decoded and checked once, whole. It belongs to that
 * connection, which keeps it for as long as the same bytes come and mean the same.
 */
export class KnownHead {
  readonly status: number;
  /** -1 when absent. */
  readonly contentLength: number;
  /** Nobody changes them: the next answer has the same. */
  readonly fields: Fields;
  /** The HEADERS frame in which it is passed on; null: nobody has made one yet; of no length: it is passed on field by field. */
  frame: Uint8Array | null = null;
  /** The `date` that the frame was given; null: it has none but the head's own. */
  date: string | null = null;

  constructor(status: number, contentLength: number, fields: Fields) {
    this.status = status;
    this.contentLength = contentLength;
    this.fields = fields;
  }
}
