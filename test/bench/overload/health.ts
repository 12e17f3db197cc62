/** Asks a health endpoint again and again, as a kubelet does, but much more often. */
import { Agent, get } from 'node:http';
import { quantile } from './answers.ts';

const EVERY_MS = 50;
const PATIENCE_MS = 5000;

export class Health {
  readonly times: number[] = [];
  failed = 0;
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  #going = true;
  readonly #done: Promise<void>;

  constructor(url: string) {
    this.#url = url;
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#going = false;
    await this.#done;
    this.#agent.destroy();
  }

  /** What a share of them took at most. */
  within(share: number): number {
    return quantile(this.times, share);
  }

  async #run(): Promise<void> {
    while (this.#going) {
      const began = performance.now();
      if (await this.#ask()) this.times.push(performance.now() - began);
      else this.failed++;
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  }

  #ask(): Promise<boolean> {
    return new Promise((resolve) => {
      const asked = get(this.#url, { agent: this.#agent, timeout: PATIENCE_MS }, (answer) => {
        answer.resume();
        answer.once('end', () => resolve(answer.statusCode === 200));
        answer.once('error', () => resolve(false));
      });
      asked.once('timeout', () => asked.destroy());
      asked.once('error', () => resolve(false));
    });
  }
}
