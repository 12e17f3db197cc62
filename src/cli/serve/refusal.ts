/** Why a process does not serve, as people and programs look for it; what is answered is the exit code. */
import type { Problem } from '../../contract/resources/index.ts';
import { bindProblems } from '../../control/binds.ts';
import type { Compiled } from '../../control/compile/index.ts';
import { holderOf } from '../../control/holder.ts';
import type { WorkerLoad } from '../../control/publish.ts';
import { problemLine } from '../../control/report.ts';
import type { Start } from '../../control/service.ts';
import { EXIT, type CommandIo } from '../command.ts';
import type { Logs } from './logs.ts';

export class Refusal {
  private readonly logs: Logs;
  private readonly io: CommandIo;

  constructor(logs: Logs, io: CommandIo) {
    this.logs = logs;
    this.io = io;
  }

  /** Words for people; what a log that is off would swallow is said by the command, as every other command says why it ends. */
  private get inWords(): boolean {
    return this.logs.format === 'plain' || this.logs.log.level() === 'off';
  }

  because(code: number, message: string): number {
    if (this.inWords) this.io.stderr(`spooky serve: ${message}\n`);
    else this.logs.log.error('cannot serve', { why: message, exit: code });
    return code;
  }

  /** Of a source's first state. */
  invalid(source: string, problems: readonly Problem[]): number {
    for (const p of problems) {
      // People look for `file:line:column: ...`, as `check` prints it.
      if (this.inWords) this.io.stderr(`${p.severity === 'warning' ? 'warning: ' : ''}${problemLine(p)}\n`);
      else this.logs.log.at(p.severity === 'error' ? 'error' : 'warn', 'configuration problem', { problem: problemLine(p) });
    }
    return this.because(EXIT.invalid, `${source}: the configuration is invalid, nothing was bound`);
  }

  async of(started: Exclude<Start, { ok: true }>, compiled: Compiled): Promise<number> {
    if (started.kind === 'bind') return this.because(EXIT.bind, await bindMessage(started.loads, compiled));
    if (started.kind === 'engine') return this.because(EXIT.engine, `the QUIC engine is not available: ${started.why}`);
    return this.because(started.kind === 'setting' ? EXIT.invalid : EXIT.failed, started.why);
  }
}

const bindMessage = async (loads: readonly WorkerLoad[], compiled: Compiled): Promise<string> => {
  const problems = loads.flatMap((load) => load.problems).filter((p) => p.kind === 'bind');
  const parts = [...compiled.parts.values()].filter((part) => part.kind === 'listener');
  const told = await bindProblems(problems, parts, (port) => holderOf('udp', port));
  return `an address cannot be bound: ${told.map(({ listener, message }) => `listener ${listener}, ${message}`).join('; ')}`;
};
