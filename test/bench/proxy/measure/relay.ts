/**
 * A NAT that forgets: `relay.ts PORT EVERY` passes datagrams between clients and 127.0.0.1:PORT, and gives a client another port of its own
 * after so many of its datagrams. What comes to a former port still reaches the client for a while, as in a real change of path.
 * Prints `port N` when clients may send to N. In a process of its own, on the core of the load.
 */
import { createSocket, type Socket } from 'node:dgram';

const HOST = '127.0.0.1';
const CLIENTS = 1024;
const GRACE_MS = 300;
const BUFFER = { recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 } as const;

const [target = 0, every = 0] = process.argv.slice(2).map(Number);
if (!(target > 0) || !(every > 0)) throw new Error('usage: relay.ts PORT EVERY');

const inside = createSocket({ type: 'udp4', ...BUFFER });

class Flow {
  readonly port: number;
  #outside: Socket;
  #ready = false;
  #next: Socket | null = null;
  #sent = 0;
  #waiting: Buffer[] = [];

  constructor(port: number) {
    this.port = port;
    this.#outside = this.#open(() => {
      this.#ready = true;
      for (const datagram of this.#waiting.splice(0)) this.up(datagram);
    });
  }

  up(datagram: Buffer): void {
    if (!this.#ready) {
      if (this.#waiting.length < 64) this.#waiting.push(datagram);
      return;
    }
    this.#outside.send(datagram, target, HOST);
    if (++this.#sent < every || this.#next !== null) return;
    const next = this.#open(() => {
      const former = this.#outside;
      this.#outside = next;
      this.#next = null;
      this.#sent = 0;
      setTimeout(() => former.close(), GRACE_MS).unref();
    });
    this.#next = next;
  }

  #open(bound: () => void): Socket {
    const socket = createSocket({ type: 'udp4', ...BUFFER });
    socket.on('message', (datagram) => inside.send(datagram, this.port, HOST));
    socket.on('error', () => undefined);
    socket.bind(0, HOST, bound);
    return socket;
  }
}

const flows = new Map<number, Flow>();
inside.on('message', (datagram, { port }) => {
  let flow = flows.get(port);
  if (flow === undefined) {
    if (flows.size >= CLIENTS) return;
    flow = new Flow(port);
    flows.set(port, flow);
  }
  flow.up(datagram);
});
inside.on('error', () => undefined);
inside.bind(0, HOST, () => process.stdout.write(`port ${inside.address().port}\n`));
