/** The clients that others wrote, behind one interface, so that every scenario reads the same for each of them. */
import { createHash, X509Certificate } from 'node:crypto';
import { closeSync, createReadStream, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from '@jest/globals';
import { ENGINE } from './engine.ts';
import { parseLine, run } from './process.ts';
import { Driver, PeerError, TOOLS, type Answer, type Dial, type Failure, type RequestSpec } from './peers.ts';
import { temporaryFolder } from './spooky.ts';

export type Ability =
  | 'sessions' // keeps a connection between requests
  | 'duplex' // reads the answer while it still sends
  | 'load' // requests without end, and GOAWAY honoured
  | 'trailers'
  | 'requestTrailers'
  | 'slowReader'
  | 'interim'
  | 'authority'; // an :authority other than the name in SNI

export interface Session {
  /** SHA-256 of the leaf certificate, hex. */
  readonly certificate: string;
  attempt(request: RequestSpec): Promise<Answer>;
  request(request: RequestSpec): Promise<Answer>;
  close(): Promise<void>;
}

export interface Client {
  readonly name: string;
  readonly can: ReadonlySet<Ability>;
  /** Bytes that it takes in although its user does not read, beyond a few MiB. */
  readonly readsAhead?: number;
  /** It now and then waits for ever when an answer and STOP_SENDING meet its upload, with any server: how often to ask. */
  readonly earlyAnswerTries?: number;
  open(dial: Dial): Promise<Session>;
  /** All at once, on one connection. */
  parallel(dial: Dial, requests: readonly RequestSpec[]): Promise<readonly Answer[]>;
  stop(): Promise<void>;
}

export class DriverClient implements Client {
  readonly name: string;
  readonly can: ReadonlySet<Ability>;
  readonly driver: Driver;

  constructor(name: string, driver: Driver, can: readonly Ability[]) {
    this.name = name;
    this.driver = driver;
    this.can = new Set(can);
  }

  open(dial: Dial): Promise<Session> {
    return this.driver.open(dial);
  }

  async parallel(dial: Dial, requests: readonly RequestSpec[]): Promise<readonly Answer[]> {
    const session = await this.open(dial);
    try {
      return await Promise.all(requests.map((request) => session.request(request)));
    } finally {
      await session.close();
    }
  }

  stop(): Promise<void> {
    return this.driver.stop();
  }
}

export const quicgo = (): DriverClient =>
  new DriverClient('quic-go', Driver.quicgo(), [
    'sessions',
    'duplex',
    'load',
    'trailers',
    'requestTrailers',
    'slowReader',
    'interim',
    'authority',
  ]);

/** aioquic grants flow control by itself as bytes arrive: it cannot be a slow reader. */
export const aioquic = (): DriverClient =>
  new DriverClient('aioquic', Driver.aioquic(), ['sessions', 'duplex', 'load', 'trailers', 'requestTrailers', 'interim', 'authority']);

/** A group of tests for each client that is driven request by request, on connections that stay open. */
export function describeDriven(tests: (client: () => DriverClient) => void): void {
  describe.each([
    ['quic-go', quicgo],
    ['aioquic', aioquic],
  ])(`${ENGINE.name}: %s`, (_, make) => {
    let client: DriverClient | null = null;
    beforeAll(() => {
      client = make();
    });
    afterAll(() => client?.stop());
    tests(() => client as DriverClient);
  });
}

const BLOCK_SIZE = 65521;

/** A body of any size in a file: the same bytes wherever it is made, and a chunk out of place changes its hash. */
function bodyFile(path: string, size: number): string {
  const block = Buffer.alloc(BLOCK_SIZE);
  let x = 2463534242;
  for (let i = 0; i < BLOCK_SIZE; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    block[i] = x & 0xff;
  }
  const file = openSync(path, 'w');
  const hash = createHash('sha256');
  for (let left = size; left > 0; left -= BLOCK_SIZE) {
    const part = block.subarray(0, Math.min(left, BLOCK_SIZE));
    hash.update(part);
    writeSync(file, part);
  }
  closeSync(file);
  return hash.digest('hex');
}

async function readBody(path: string): Promise<Pick<Answer, 'size' | 'sha256' | 'text'>> {
  const hash = createHash('sha256');
  let size = 0;
  let text = '';
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    if (size === 0) text = chunk.subarray(0, 8192).toString();
    hash.update(chunk);
    size += chunk.length;
  }
  return { size, sha256: hash.digest('hex'), text };
}

/** curl's header file: the blocks of 1xx, the answer's, and after its blank line the trailers. */
export function parseHeaderFile(text: string): Pick<Answer, 'interim' | 'headers' | 'trailers'> {
  const interim: number[] = [];
  const lists: [string, string][][] = [];
  for (const block of text.split(/\r?\n\r?\n/)) {
    const lines = block.split(/\r?\n/).filter((line) => line !== '');
    if (lines.length === 0) continue;
    const status = /^HTTP\/\S+ (\d+)/.exec(lines[0] ?? '');
    const code = Number(status?.[1]);
    if (code < 200) {
      interim.push(code);
      continue;
    }
    lists.push(lines.filter((line) => !line.startsWith('HTTP/')).map(splitField));
  }
  return { interim, headers: lists[0] ?? [], trailers: lists[1] ?? [] };
}

function splitField(line: string): [string, string] {
  const at = line.indexOf(':');
  return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()];
}

interface CurlReport {
  readonly http_code: number;
  readonly http_version: string;
  readonly exitcode: number;
  readonly errormsg: string | null;
  readonly num_connects: number;
  readonly size_download: number;
  readonly time_starttransfer: number;
  readonly time_total: number;
  readonly certs?: string;
}

/** curl with HTTP/3 in the Debian sid folder: a process for each request. */
export class Curl implements Client {
  readonly name = 'curl';
  readonly can: ReadonlySet<Ability> = new Set<Ability>(['duplex', 'trailers', 'slowReader', 'interim', 'authority']);
  readonly #dir = temporaryFolder('spooky-curl');
  #count = 0;

  async open(dial: Dial): Promise<Session> {
    const probe = await this.#run(dial, { authority: dial.name, path: '/' });
    if (probe.report === null || probe.report.http_code === 0) throw new PeerError(probe.answer.error ?? failure('curl said nothing'));
    return {
      certificate: leafHash(probe.report.certs ?? ''),
      attempt: async (request) => (await this.#run(dial, request)).answer,
      request: async (request) => {
        const { answer } = await this.#run(dial, request);
        if (answer.error !== undefined) throw new PeerError(answer.error);
        return answer;
      },
      close: () => Promise.resolve(),
    };
  }

  async parallel(dial: Dial, requests: readonly RequestSpec[]): Promise<readonly Answer[]> {
    const path = this.#path('parallel');
    const args = ['--parallel', '--parallel-max', String(requests.length)];
    requests.forEach((request, i) => {
      if (i > 0) args.push('--next');
      args.push(
        ...this.#common(dial, request),
        '-w',
        '%{stdout}%{json}\\n',
        '-D',
        `${path}.${i}.head`,
        '-o',
        `${path}.${i}.body`,
        url(dial, request),
      );
    });
    const result = await run(join(TOOLS, 'sid'), ['run', 'curl', ...args], { timeoutMs: 120_000 });
    const reports = result.stdout
      .split('\n')
      .map(parseLine)
      .filter((line) => line !== undefined) as unknown as (CurlReport & { urlnum: number })[];
    if (result.code !== 0 || reports.length !== requests.length) throw new Error(`curl ended with ${result.code}: ${result.stderr}`);
    const connects = reports.reduce((sum, report) => sum + report.num_connects, 0);
    if (connects !== 1) throw new Error(`curl opened ${connects} connections`);
    return Promise.all(requests.map((_, i) => readAnswer(`${path}.${i}`, reports[i] as CurlReport, null)));
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  #path(kind: string): string {
    this.#count += 1;
    return join(this.#dir, `${kind}-${this.#count}`);
  }

  #common(dial: Dial, request: RequestSpec): string[] {
    const at = dial.address.lastIndexOf(':');
    const args = [
      '--silent',
      '--show-error',
      '--http3-only',
      '--path-as-is',
      '--globoff',
      '--connect-timeout',
      '10',
      '--resolve',
      `${dial.name}:${dial.address.slice(at + 1)}:${dial.address.slice(0, at)}`,
    ];
    args.push(...(dial.ca === undefined ? ['--insecure'] : ['--cacert', dial.ca]));
    if (request.authority !== dial.name) args.push('-H', `host: ${request.authority}`);
    for (const [name, value] of request.headers ?? []) args.push('-H', `${name}: ${value}`);
    if (request.method === 'HEAD') args.push('--head');
    else if (request.method !== undefined) args.push('-X', request.method);
    if (request.readPauseMs !== undefined)
      args.push('--limit-rate', String(Math.round(((request.readChunk ?? 32768) * 1000) / request.readPauseMs)));
    // curl ends a transfer by itself after a time, not after a size: half a second is enough for some MiB.
    const limit = request.cancelAfter === undefined ? (request.cancelMs ?? request.timeoutMs ?? 60_000) : 500;
    args.push('--max-time', String(limit / 1000));
    return args;
  }

  async #run(dial: Dial, request: RequestSpec): Promise<{ answer: Answer; report: CurlReport | null }> {
    const path = this.#path('request');
    const args = [...this.#common(dial, request), '-w', '%{stdout}%{json}\\n', '-D', `${path}.head`, '-o', `${path}.body`];
    let sent: string | null = null;
    if (request.body !== undefined) {
      sent = bodyFile(`${path}.upload`, request.body);
      args.push('-T', `${path}.upload`, '-H', 'expect:');
      if (request.declare === false) args.push('-H', 'content-length:');
    }
    const result = await run(join(TOOLS, 'sid'), ['run', 'curl', ...args, url(dial, request)], {
      timeoutMs: (request.timeoutMs ?? 60_000) + 10_000,
    });
    const report = (parseLine(result.stdout.split('\n')[0] ?? '') ?? null) as unknown as CurlReport | null;
    if (report === null) throw new Error(`curl ended with ${result.code}: ${result.stderr}`);
    const answer = await readAnswer(path, report, sent);
    const cancelled = request.cancelAfter !== undefined && answer.error?.kind === 'timeout' && answer.size >= request.cancelAfter;
    return { answer: cancelled ? { ...answer, cancelled, error: undefined } : answer, report };
  }
}

const url = (dial: Dial, request: RequestSpec): string =>
  `https://${dial.name}:${dial.address.slice(dial.address.lastIndexOf(':') + 1)}${request.path}`;

const failure = (text: string, kind: Failure['kind'] = 'other'): Failure => ({ kind, code: 0, remote: false, text });

async function readAnswer(path: string, report: CurlReport, sent: string | null): Promise<Answer> {
  const head = parseHeaderFile(readFileSync(`${path}.head`, 'latin1'));
  // With --head the file of the body holds the head.
  const empty = { size: 0, text: '', sha256: createHash('sha256').digest('hex') };
  const body = report.size_download === 0 ? empty : await readBody(`${path}.body`);
  const answer = {
    ...head,
    ...body,
    status: report.http_code,
    sent,
    cancelled: false,
    firstByteMs: report.time_starttransfer * 1000,
    ms: report.time_total * 1000,
  };
  if (report.http_code !== 0 && report.http_version !== '3') return { ...answer, error: failure(`spoke HTTP/${report.http_version}`) };
  if (report.exitcode === 0) return answer;
  return { ...answer, error: failure(`curl ${report.exitcode}: ${report.errormsg ?? ''}`, report.exitcode === 28 ? 'timeout' : 'other') };
}

function leafHash(pem: string): string {
  const first = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/.exec(pem)?.[0];
  if (first === undefined) throw new Error('curl reported no certificate');
  return new X509Certificate(first).fingerprint256.replaceAll(':', '').toLowerCase();
}
