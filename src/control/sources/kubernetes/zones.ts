/** What Nodes say: where we are, and where clients can reach the cluster. */
import type { NodeEntry } from './core.ts';

export const zoneOf = (nodes: ReadonlyMap<string, NodeEntry>, nodeName: string): string => nodes.get(nodeName)?.zone ?? '';

/** Of all that are ready, each once, in an order that every process finds. */
export function nodeAddresses(nodes: ReadonlyMap<string, NodeEntry>): readonly string[] {
  const found = new Set<string>();
  for (const { ready, addresses } of nodes.values()) if (ready) for (const address of addresses) found.add(address);
  return [...found].sort();
}
