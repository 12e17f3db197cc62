/** What is between clients and nodes: a load balancer, a NAT, other addresses. All of it goes with the cluster, or with `close`. */
import { join } from 'node:path';
import { CACHE, Driver } from '../../kit/peers.ts';
import { eventually, run } from '../../kit/process.ts';
import { getJson, ingress, NODES, outside, OWN } from './cluster.ts';

/** Runs what undoes a thing, whether or not that is there. */
const undo = (command: readonly string[]): Promise<unknown> => run(command[0] ?? '', command.slice(1));

/** Another address of clients: used by those that bind to it (`local`), and by no other. */
export async function clientAddress(address: string): Promise<{ close: () => Promise<void> }> {
  const wide = address.includes(':');
  const place = [`${address}/${wide ? 64 : 24}`, 'dev', 'outside'];
  // A deprecated address is not chosen as the source of what is bound to none.
  await outside(['ip', 'addr', 'add', ...place, ...(wide ? ['nodad', 'preferred_lft', '0'] : [])]);
  return { close: () => undo(['ip', 'addr', 'del', ...place]).then(() => undefined) };
}

export const BALANCED = '198.18.0.240';

/** A load balancer as routers are one: an address that is routed to every node in turn, by flow. */
export class Balancer {
  /** Routes to these nodes; a flow keeps its node while they stay. */
  async route(nodes: readonly string[] = NODES.map(({ address }) => address)): Promise<void> {
    await outside(['sysctl', '-qw', 'net.ipv4.fib_multipath_hash_policy=1']);
    await outside(['ip', 'route', 'replace', `${BALANCED}/32`, ...nodes.flatMap((address) => ['nexthop', 'via', address])]);
  }

  /** Does what a cloud's controller does for a Service of that type: gives it an address, once it is one. */
  async publish(): Promise<void> {
    await eventually(async () => {
      const { spec } = await getJson<{ spec: { type: string } }>(['service', 'spooky', '--namespace', OWN]);
      if (spec.type !== 'LoadBalancer') throw new Error(spec.type);
    }, 60_000, 200); // prettier-ignore
    await ingress({ ip: BALANCED });
  }

  async close(): Promise<void> {
    await undo(['ip', 'route', 'del', `${BALANCED}/32`]);
    await undo(['sysctl', '-qw', 'net.ipv4.fib_multipath_hash_policy=0']);
  }
}

/**
 * A home: clients in a network of their own, whose NAT gives every flow a port at random and forgets flows when it is told. What the outside sees of
 * it is routed as what comes from anywhere: by the address and port that the NAT has given.
 */
export class Home {
  static readonly ADDRESS = '198.18.1.2';
  static readonly SECOND_ADDRESS = '198.18.1.3';
  readonly driver: Driver;

  private constructor() {
    this.driver = new Driver('ip', ['netns', 'exec', 'home', join(CACHE, 'bin', 'quicgo-client')]);
  }

  static async open(): Promise<Home> {
    await Home.#remove();
    await outside(['ip', 'netns', 'add', 'home']);
    await outside(['ip', 'link', 'add', 'home0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', 'home']);
    await outside(['ip', 'addr', 'add', '198.18.1.1/29', 'dev', 'home0']);
    await outside(['ip', 'link', 'set', 'home0', 'up']);
    const inner = [
      'link set lo up',
      'link set eth0 up',
      `addr add ${Home.ADDRESS}/29 dev eth0`,
      `addr add ${Home.SECOND_ADDRESS}/29 dev eth0`,
      'route add default via 198.18.1.1',
    ];
    for (const command of inner) await outside(['ip', '-n', 'home', ...command.split(' ')]);
    await Home.#inside('nft', 'add table ip home; add chain ip home post { type nat hook postrouting priority 100; }');
    const home = new Home();
    await home.appearAs(Home.ADDRESS);
    return home;
  }

  /** The NAT's ports of flows to this address, as servers see them. */
  async ports(to: string): Promise<readonly number[]> {
    const said = await Home.#inside('conntrack', '-L', '-p', 'udp', '--orig-dst', to);
    // The second dport of a line is that of the answers: the port that the NAT has given the flow.
    return said.split('\n').flatMap((line) => [...line.matchAll(/ dport=(\d+)/g)].slice(1, 2).map(([, port]) => Number(port)));
  }

  /** Bytes that have come to the clients. */
  async received(): Promise<number> {
    type Links = readonly { readonly stats64: { readonly rx: { readonly bytes: number } } }[];
    const [link] = JSON.parse(await outside(['ip', '-n', 'home', '-s', '-j', 'link', 'show', 'eth0'])) as Links;
    return link?.stats64.rx.bytes ?? 0;
  }

  /** From which address new flows come. */
  async appearAs(address: string): Promise<void> {
    await Home.#inside('nft', `flush chain ip home post; add rule ip home post oifname "eth0" meta l4proto udp snat to ${address} random`);
  }

  /** The NAT forgets: a client's next datagram comes from another port. */
  async forget(): Promise<void> {
    await Home.#inside('conntrack', '-D', '-p', 'udp');
  }

  async close(): Promise<void> {
    await this.driver.stop();
    await Home.#remove();
  }

  static readonly #inside = (...command: readonly string[]): Promise<string> => outside(['ip', 'netns', 'exec', 'home', ...command]);

  static async #remove(): Promise<void> {
    await undo(['ip', 'link', 'del', 'home0']);
    await undo(['ip', 'netns', 'del', 'home']);
  }
}
