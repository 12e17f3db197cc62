/** Where a listener is: its addresses, and what its socket is known by among workers. */
import { socketKey, socketName } from '../../contract/socket.ts';
import type { BoundListener } from '../../contract/channel.ts';
import type { ListenerPart } from '../../contract/snapshot/index.ts';
import { addressFrom, isMapped, sameAddress } from '../quic/address.ts';
import type { Address } from '../quic/engine.ts';

export interface Place {
  readonly key: string;
  readonly name: string;
  readonly hosts: readonly string[];
  readonly addresses: BoundListener['addresses'];
}

export function placeOf(part: ListenerPart, hosts: readonly string[], addresses: BoundListener['addresses']): Place {
  const key = socketKey(part);
  return { key, name: socketName(key), hosts, addresses };
}

/** Whether a connection that came to this address of ours, port and all, is one of these hosts'. */
export function isAt(hosts: readonly string[], local: Address): boolean {
  const port = ((local[16] as number) << 8) | (local[17] as number);
  return hosts.some((host) => {
    const address = addressFrom(host, port);
    if (address === null) return false;
    const all = host === '0.0.0.0' || (!isMapped(address) && address.every((octet, i) => octet === 0 || i >= 16));
    return all ? isMapped(address) === isMapped(local) : sameAddress(address, local);
  });
}
