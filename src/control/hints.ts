/** What operators are to know of a listener although it serves: said once of each. */
import type { ListenerPart } from '../contract/snapshot/index.ts';
import type { Log } from '../lib/log.ts';

export class Hints {
  private readonly log: Log;
  private readonly smallBuffers = new Set<string>();
  private readonly anyPorts = new Set<string>();

  constructor(log: Log) {
    this.log = log;
  }

  /** The kernel gives a port to each worker that asks for any: clients of one know nothing of the others. */
  port(part: ListenerPart, workers: number): void {
    const listener = `${part.namespace}/${part.name}`;
    if (part.port !== 0 || workers < 2 || this.anyPorts.has(listener)) return;
    this.anyPorts.add(listener);
    this.log.warn('a listener with port 0: each worker has a port of its own', { listener, todo: 'a port, or --workers 1' });
  }

  /** A burst that finds no room is lost without a trace in QUIC. */
  buffer(listener: string, granted: number, asked: number): void {
    if (granted === 0 || granted * 2 >= asked || this.smallBuffers.has(listener)) return;
    this.smallBuffers.add(listener);
    const hint = `sysctl -w net.core.rmem_max=${asked}, or a smaller --udp-receive-buffer`;
    this.log.warn('the kernel grants less than half of the UDP receive buffer', { listener, asked, granted, hint });
  }
}
