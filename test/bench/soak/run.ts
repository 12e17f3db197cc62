/** `make soak [MINUTES=20] [STEPS=soak,burst,idle] [ENGINE=native] [WORKERS=2] [CONNECTIONS=n]`: memory over time, and whether it stays. */
import { startBackend } from '../proxy/backend.ts';
import { endBySignals, freeUdpPort, stopAll } from '../proxy/program.ts';
import { makeSetting, type Setting } from '../proxy/setting.ts';
import { readOptions, type Options, type Step } from './options.ts';
import { burst, idle, soak, type Arena, type Outcome } from './steps.ts';
import { Subject } from './subject.ts';

const RUNS: Readonly<Record<Step, (arena: Arena) => Promise<Outcome>>> = { soak, burst, idle };

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const began = performance.now();
const progress = (text: string): void =>
  void process.stderr.write(`[${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s] ${text}\n`);

/** Each step in a process tree of its own: what one leaves behind is not the other's. */
async function runStep(s: Setting, o: Options, step: Step, backend: string): Promise<Outcome> {
  const subject = await Subject.start(s, backend, o, step, await freeUdpPort());
  try {
    return await RUNS[step]({ s, o, subject, progress });
  } catch (e) {
    return { passed: false, text: `${step}: ${e instanceof Error ? e.message : String(e)}` };
  } finally {
    await subject.stop();
  }
}

async function main(): Promise<number> {
  const o = readOptions(process.env);
  if (typeof o === 'string') {
    process.stderr.write(`${o}\n`);
    return 2;
  }
  const s = makeSetting();
  let code = 0;
  try {
    const backend = await startBackend(s);
    for (const step of o.steps) {
      const { passed, text } = await runStep(s, o, step, backend);
      say(`${text}\n${step}: ${passed ? 'passed' : 'FAILED'} on ${o.engine}\n`);
      if (!passed) code = 1;
    }
  } finally {
    await stopAll();
    s.remove();
  }
  return code;
}

endBySignals();
process.exitCode = await main();
