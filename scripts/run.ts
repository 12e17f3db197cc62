/** `make run`: a development certificate, the demo backend and Spooky in front of it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { makeCertificate } from '../test/kit/x509.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DEV = join(ROOT, '.dev');
const PORT = Number(process.env['PORT'] ?? 8443);
const DEMO = '127.0.0.1:7001';
const METRICS = '127.0.0.1:9901';
const ADMIN = '127.0.0.1:9902';
const DAY_MS = 86_400_000;
const NAMES = ['DNS:localhost', 'DNS:*.localhost', 'IP:127.0.0.1'];

/** `localhost` is both on most machines, and who asks looks at ::1 first. */
const ADDRESSES = ['127.0.0.1', '::1'].filter((a) => Object.values(networkInterfaces()).some((list) => list?.some((i) => i.address === a)));

const path = (name: string): string => join(DEV, name);
const say = (text: string): void => void process.stdout.write(`${text}\n`);

const write = (name: string, text: string, mode = 0o644): void => {
  writeFileSync(path(name), text, { mode });
  chmodSync(path(name), mode);
};

const usable = (): boolean => {
  if (!['ca.pem', 'leaf.pem', 'leaf-key.pem'].every((name) => existsSync(path(name)))) return false;
  return new Date(new X509Certificate(readFileSync(path('leaf.pem'))).validTo).getTime() > Date.now() + DAY_MS;
};

const makeCertificates = (): void => {
  const now = Date.now();
  const validity = { notBefore: now - DAY_MS };
  const ca = makeCertificate({ subject: 'Spooky development CA', ca: true, ...validity, notAfter: now + 365 * DAY_MS });
  const leaf = makeCertificate({ subject: 'localhost', names: NAMES, issuer: ca, ...validity, notAfter: now + 90 * DAY_MS });
  write('ca.pem', ca.cert);
  write('leaf.pem', leaf.cert);
  write('leaf-key.pem', leaf.key, 0o600);
};

const CONFIG = `# Written by \`make run\`.
apiVersion: spooky.dev/v1alpha1
kind: Listener
metadata: {name: public}
spec:
  addresses: ${JSON.stringify(ADDRESSES)}
  port: ${PORT}
  tls:
    certificateRefs:
      - files: {cert: leaf.pem, key: leaf-key.pem}
---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: demo}
spec:
  hostnames: ["*"]
  backends:
    - addresses: [{name: demo, address: "${DEMO}"}]
  healthCheck: {type: HTTP, http: {path: /health}}
`;

const children: ChildProcess[] = [];
const start = (args: readonly string[]): ChildProcess => {
  // In a group of its own: Ctrl-C reaches it once, through us, and not once more from the terminal, which would cut the drain short.
  const child = spawn(join(ROOT, 'bin', 'spooky'), args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  children.push(child);
  return child;
};

let stopping = false;
/** The last one started: Spooky drains while its backend still answers, which is ended when Spooky has. */
const stop = (signal: NodeJS.Signals): void => {
  stopping = true;
  children.at(-1)?.kill(signal);
};
const stopAll = (): void => {
  for (const child of children) if (child.exitCode === null) child.kill('SIGTERM');
};

const ended = (child: ChildProcess): Promise<number> =>
  new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? (signal === null ? 0 : 1))));

/** Resolves when a line passes; the lines of a child that ends before are printed. */
const lineOf = (child: ChildProcess, passes: (line: string) => boolean, print: boolean): Promise<boolean> =>
  new Promise((resolve) => {
    const kept: string[] = [];
    let passed = false;
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on('line', (line) => {
        if (print) say(line);
        else if (!passed) kept.push(line);
        passed ||= passes(line);
        if (passed) resolve(true);
      });
    }
    child.once('exit', () => {
      if (!passed) for (const line of kept) say(line);
      resolve(false);
    });
  });

const explain = (): void => {
  say(`
Spooky serves HTTP/3 on port ${PORT} of localhost (UDP), the demo backend listens on ${DEMO}.

  curl --http3-only --cacert ${path('ca.pem')} https://localhost:${PORT}/
  bin/spooky probe https://localhost:${PORT}/whoami --ca ${path('ca.pem')}     when curl has no HTTP/3

  metrics  http://${METRICS}/metrics     probes /healthz, /readyz
  admin    http://${ADMIN}/admin/upstreams     also /admin/config, /admin/listeners, /admin/certificates, /admin/workers
  config   ${path('spooky.yaml')}     change it while Spooky runs

Ctrl-C stops both.
`);
};

const main = async (): Promise<number> => {
  mkdirSync(DEV, { recursive: true, mode: 0o700 });
  if (!usable()) makeCertificates();
  write('spooky.yaml', CONFIG);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop(signal));
  // The terminal is gone.
  process.on('SIGHUP', () => stop('SIGTERM'));
  const demo = start(['demo', '--listen', DEMO]);
  if (!(await lineOf(demo, (line) => line.startsWith('demo backend on'), false))) return (say('the demo backend did not start'), 1);
  const serve = start([
    'serve',
    '--config',
    path('spooky.yaml'),
    '--metrics',
    METRICS,
    '--admin',
    ADMIN,
    '--log-format',
    'plain',
    '--access-log',
    'all',
    '--drain-timeout',
    '3s',
  ]);
  const serveEnded = ended(serve);
  if (!(await lineOf(serve, (line) => / ready( |$)/.test(line), true))) {
    stopAll();
    return serveEnded;
  }
  explain();
  const code = await serveEnded;
  if (!stopping) say(`Spooky ended with exit code ${code}`);
  stopAll();
  await Promise.all(children.map((child) => (child.exitCode === null && child.signalCode === null ? ended(child) : 0)));
  return code;
};

process.exit(await main());
