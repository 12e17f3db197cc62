/** Spooky in its cage: main process and worker share what there is, as in a pod. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOST } from '../proxy/h2load.ts';
import { readyOf } from '../proxy/peers/spooky.ts';
import { Program } from '../proxy/program.ts';
import { CPU, ROOT, type Setting } from '../proxy/setting.ts';
import type { Cage } from './cage.ts';

/** What is raised is what one client on one address would run into. */
const documents = (s: Setting, fast: string, slow: string): string => `
apiVersion: spooky.dev/v1alpha1
kind: Listener
metadata: {name: public}
spec:
  addresses: ["127.0.0.1"]
  port: 0
  tls: {certificateRefs: [{files: {cert: ${s.cert}, key: ${s.key}}}]}
  limits: {connectionsPerAddress: 100000}
---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: slow}
spec:
  hostnames: [${HOST}]
  matches: [{path: {type: Exact, value: /slow}}]
  backends: [{addresses: [{address: "${slow}"}]}]
---
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata: {name: fast}
spec:
  hostnames: [${HOST}]
  backends: [{addresses: [{address: "${fast}"}]}]
`;

const FLAGS = '--workers 1 --log-format json --access-log off --metrics 127.0.0.1:0 --admin 127.0.0.1:0 --drain-timeout 1s';

export interface Caged {
  readonly port: number;
  readonly metrics: string;
  readonly worker: number;
  readonly program: Program;
  /** The sum of the counters whose line is such. */
  counted(line: RegExp): Promise<number>;
  /** Of the worker, now. */
  workerPid(): Promise<number>;
}

export async function startCaged(s: Setting, cage: Cage, engine: string, fast: string, slow: string): Promise<Caged> {
  const dir = join(s.dir, engine);
  mkdirSync(dir);
  writeFileSync(join(dir, 'spooky.yaml'), documents(s, fast, slow));
  const args = `serve --config ${join(dir, 'spooky.yaml')} --engine ${engine} ${FLAGS}`.split(' ');
  const program = new Program(...cage.within(join(ROOT, 'bin', 'spooky'), args), { cpu: CPU.proxy });
  const ready = (await program.waitFor(readyOf, 120_000)) as NonNullable<ReturnType<typeof readyOf>> & { readonly metrics: string };
  if (ready.engine !== engine) throw new Error(`--engine ${engine} runs ${ready.engine}`);
  const workerPid = async (): Promise<number> => {
    const { workers } = (await (await fetch(`http://${ready.admin}/admin/workers`)).json()) as { workers: readonly { pid: number }[] };
    return workers[0]?.pid ?? 0;
  };
  return {
    port: Number(/:(\d+)/.exec(JSON.stringify(ready.listeners))?.[1] ?? 0),
    metrics: `http://${ready.metrics}`,
    worker: await workerPid(),
    program,
    workerPid,
    counted: async (wanted) => {
      const text = await (await fetch(`http://${ready.metrics}/metrics`)).text();
      const lines = text.split('\n').filter((line) => wanted.test(line));
      return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
    },
  };
}
