/** Where a run happens: its folder, its cores, the certificate and the bodies. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeCa, makeLeaf } from '../../kit/certs.ts';
import { HOST } from './h2load.ts';
import { BODY_BYTES } from './rows.ts';

export const ROOT = join(import.meta.dirname, '..', '..', '..');
export const TOOLS = join(ROOT, 'test', 'e2e', 'tools');
/** The proxy has a core to itself; load and backend share the other. */
export const CPU = { proxy: 0, load: 1 } as const;

export interface Setting {
  readonly dir: string;
  readonly cert: string;
  readonly key: string;
  /** A file of `BODY_BYTES`. */
  readonly body: string;
  remove(): void;
}

export function makeSetting(): Setting {
  const dir = mkdtempSync(join(tmpdir(), 'spooky-bench-'));
  const file = (name: string, content: Buffer): string => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };
  const leaf = makeLeaf(makeCa('bench'), { names: [HOST] });
  mkdirSync(join(dir, 'files'));
  return {
    dir,
    cert: file('cert.pem', leaf.cert),
    key: file('key.pem', leaf.key),
    // Bytes of no pattern: nothing on the way can make less of them.
    body: file('files/large', Buffer.from(Array.from({ length: BODY_BYTES }, (_, i) => (Math.imul(i, 2654435761) >>> 13) & 255))),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** What is measured: something that answers HTTP/3 at a port of 127.0.0.1. */
export interface Subject {
  readonly name: string;
  readonly version: string;
  readonly port: number;
  /** The processes whose CPU and memory count. */
  readonly workers: readonly number[];
  /** The process that supervises them, counted apart; null when it does nothing. */
  readonly main: number | null;
  stop(): Promise<void>;
}
