/** What a health endpoint answers meanwhile. Who asks is a process of its own: the generator, which has much to do, would tell of its own delays. */
import { join } from 'node:path';
import { Program } from '../proxy/program.ts';
import { CPU } from '../proxy/setting.ts';
import { quantile } from './answers.ts';
import type { Cage } from './cage.ts';

export class Health {
  times: readonly number[] = [];
  failed = 0;
  readonly #program: Program;

  private constructor(program: Program) {
    this.#program = program;
  }

  static async ask(url: string, cage: Cage): Promise<Health> {
    const args = ['--no-warnings', join(import.meta.dirname, 'prober.ts'), url];
    const program = new Program(...cage.within(process.execPath, args), { cpu: CPU.load });
    await program.waitFor((line) => (line === 'begun' ? true : undefined));
    return new Health(program);
  }

  async stop(): Promise<void> {
    const told = this.#program.waitFor((line) => (line.startsWith('{') ? line : undefined));
    await this.#program.stop();
    const { times, failed } = JSON.parse(await told) as { readonly times: readonly number[]; readonly failed: number };
    this.times = times;
    this.failed = failed;
  }

  /** What a share of them took at most. */
  within(share: number): number {
    return quantile(this.times, share);
  }
}
