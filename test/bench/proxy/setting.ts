/** Where a run happens: its folder, its cores, the certificate and the bodies; and what is measured there. */
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
  /** ECDSA P-256, for `HOST` and the hosts below it. */
  readonly cert: string;
  readonly key: string;
  /** Both in one file. */
  readonly pem: string;
  /** A file of `BODY_BYTES`. */
  readonly body: string;
  /** For what is written while something is measured. Spooky watches the folder of its certificate: not one where a load generator writes a log. */
  readonly scratch: string;
  /** Also when the process ends before. */
  remove(): void;
}

export function makeSetting(): Setting {
  const dir = mkdtempSync(join(tmpdir(), 'spooky-bench-'));
  const file = (name: string, content: Buffer): string => {
    writeFileSync(join(dir, name), content);
    return join(dir, name);
  };
  const remove = (): void => {
    process.off('exit', remove);
    rmSync(dir, { recursive: true, force: true });
  };
  process.once('exit', remove);
  const leaf = makeLeaf(makeCa('bench'), { names: [HOST, `*.${HOST}`] });
  const scratch = join(dir, 'scratch');
  for (const folder of [join(dir, 'files'), scratch]) mkdirSync(folder);
  return {
    dir,
    cert: file('cert.pem', leaf.cert),
    key: file('key.pem', leaf.key),
    pem: file('both.pem', Buffer.concat([leaf.cert, Buffer.from('\n'), leaf.key])),
    // Bytes of no pattern: nothing on the way can make less of them.
    body: file('files/large', Buffer.from(Array.from({ length: BODY_BYTES }, (_, i) => (Math.imul(i, 2654435761) >>> 13) & 255))),
    scratch,
    remove,
  };
}

/** What is measured: something that answers HTTP/3 at a port of 127.0.0.1. */
export interface Subject {
  readonly name: string;
  readonly version: string;
  readonly port: number;
  /** It and all its descendants are what CPU is counted of. */
  readonly root: number;
  /** The processes that serve: their memory counts, and what the others use is a column apart. */
  readonly workers: readonly number[];
  stop(): Promise<void>;
}

/** How a subject is to be started. */
export interface Ask {
  /** A name in the folder of the run that nothing else has. */
  readonly folder: string;
  /** Where the backend is. */
  readonly backend: string;
  /** Hosts with a route of their own, beside the one that all other rows ask. */
  readonly routes: number;
  readonly workers: number;
}

/** One that takes part. */
export interface Contestant {
  readonly name: string;
  /** Whether it is Spooky: some rows ask what only Spooky has. */
  readonly ours: boolean;
  start(s: Setting, ask: Ask): Promise<Subject>;
}
