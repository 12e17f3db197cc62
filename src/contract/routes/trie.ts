/** A radix tree over strings, read forwards (paths) or backwards (host suffixes). A look-up allocates nothing. */
export class TrieNode<V> {
  readonly parent: TrieNode<V> | null;
  /** Length of the whole key down to here. */
  readonly depth: number;
  /** The part of the key between the parent and here, in reading order. */
  readonly label: string;
  children: Map<number, TrieNode<V>> | null = null;
  value: V | null = null;

  constructor(parent: TrieNode<V> | null, label: string) {
    this.parent = parent;
    this.label = label;
    this.depth = (parent === null ? 0 : parent.depth) + label.length;
  }
}

export class Trie<V> {
  readonly root: TrieNode<V>;
  private readonly backwards: boolean;

  /** Keys may come in any order; the tree is built once and never changed. */
  constructor(entries: Iterable<readonly [string, V]>, backwards: boolean) {
    this.backwards = backwards;
    this.root = new TrieNode<V>(null, '');
    const keyed = Array.from(entries, ([key, value]): [string, V] => [backwards ? reverse(key) : key, value]);
    keyed.sort((a, b) => (a[0] < b[0] ? -1 : 1));
    this.grow(this.root, keyed, 0, keyed.length);
  }

  /** Sorted keys that share the text down to `node` become its children. */
  private grow(node: TrieNode<V>, keyed: readonly (readonly [string, V])[], from: number, to: number): void {
    let i = from;
    const at = node.depth;
    for (; i < to && (keyed[i] as readonly [string, V])[0].length === at; i++) node.value = (keyed[i] as readonly [string, V])[1];
    while (i < to) {
      const first = (keyed[i] as readonly [string, V])[0];
      const code = first.charCodeAt(at);
      let end = i + 1;
      while (end < to && (keyed[end] as readonly [string, V])[0].charCodeAt(at) === code) end++;
      const shared = sharedLength(first, (keyed[end - 1] as readonly [string, V])[0]);
      const child = new TrieNode<V>(node, first.slice(at, shared));
      node.children ??= new Map();
      node.children.set(code, child);
      this.grow(child, keyed, i, end);
      i = end;
    }
  }

  /** The deepest node whose key begins (or ends, backwards) `s`; shorter ones are its parents. */
  deepest(s: string): TrieNode<V> {
    let node = this.root;
    const length = s.length;
    while (node.children !== null && node.depth < length) {
      const at = node.depth;
      const next = node.children.get(this.backwards ? s.charCodeAt(length - 1 - at) : s.charCodeAt(at));
      if (next === undefined || next.depth > length) return node;
      const label = next.label;
      for (let k = 1; k < label.length; k++) {
        const code = this.backwards ? s.charCodeAt(length - 1 - at - k) : s.charCodeAt(at + k);
        if (code !== label.charCodeAt(k)) return node;
      }
      node = next;
    }
    return node;
  }
}

/** Keys are ASCII (canonical paths and host names), so reversing code units is enough. */
const reverse = (s: string): string => Array.from(s).reverse().join('');

function sharedLength(a: string, b: string): number {
  const end = Math.min(a.length, b.length);
  let i = 0;
  while (i < end && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  return i;
}
