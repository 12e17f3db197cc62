/**
 * A radix tree over strings, read forwards (paths) or backwards (host suffixes). A look-up allocates nothing, and a tree that differs from another one in few keys
 * shares all other nodes with it.
 */
export class TrieNode<V> {
  /** Length of the whole key down to here. */
  readonly depth: number;
  /** The part of the key between the parent and here, in reading order. */
  readonly label: string;
  /** Whoever made it may still change it. */
  readonly owner: object | null;
  children: Map<number, TrieNode<V>> | null = null;
  value: V | null = null;

  constructor(depth: number, label: string, owner: object | null) {
    this.depth = depth;
    this.label = label;
    this.owner = owner;
  }
}

export class Trie<V> {
  root: TrieNode<V>;
  private readonly backwards: boolean;
  /** Nodes of the last walk that have a value. */
  private readonly way: TrieNode<V>[] = [];

  constructor(backwards: boolean, root: TrieNode<V> = new TrieNode<V>(0, '', null)) {
    this.backwards = backwards;
    this.root = root;
  }

  /** How many keys with a value begin `s` (or end it, backwards): `at` has them, the longest last, until the next walk. */
  walk(s: string): number {
    let node = this.root;
    const { way, backwards } = this;
    const length = s.length;
    let found = 0;
    if (node.value !== null) way[found++] = node;
    while (node.children !== null && node.depth < length) {
      const at = node.depth;
      const next = node.children.get(backwards ? s.charCodeAt(length - 1 - at) : s.charCodeAt(at));
      if (next === undefined || next.depth > length) return found;
      const label = next.label;
      for (let k = 1; k < label.length; k++) {
        const code = backwards ? s.charCodeAt(length - 1 - at - k) : s.charCodeAt(at + k);
        if (code !== label.charCodeAt(k)) return found;
      }
      node = next;
      if (node.value !== null) way[found++] = node;
    }
    return found;
  }

  at(i: number): TrieNode<V> {
    return this.way[i] as TrieNode<V>;
  }

  get(key: string): V | null {
    const found = this.walk(key);
    const node = found === 0 ? undefined : this.at(found - 1);
    return node !== undefined && node.depth === key.length ? node.value : null;
  }

  /** The same tree, to be changed by `owner`; this one stays as it is. */
  copy(): Trie<V> {
    return new Trie<V>(this.backwards, this.root);
  }

  /** Only on a copy that nobody looks into yet. null takes the key away. */
  set(key: string, value: V | null, owner: object): void {
    this.root = put(this.root, this.backwards ? reverse(key) : key, value, owner);
  }
}

function own<V>(node: TrieNode<V>, owner: object): TrieNode<V> {
  if (node.owner === owner) return node;
  const copy = new TrieNode<V>(node.depth, node.label, owner);
  copy.value = node.value;
  copy.children = node.children === null ? null : new Map(node.children);
  return copy;
}

/** `key` begins with all that leads to `node`. */
function put<V>(node: TrieNode<V>, key: string, value: V | null, owner: object): TrieNode<V> {
  const mine = own(node, owner);
  if (key.length === node.depth) {
    mine.value = value;
    return mine;
  }
  const code = key.charCodeAt(node.depth);
  const child = mine.children?.get(code);
  const shared = child === undefined ? 0 : sharedLength(key, node.depth, child.label);
  if (child !== undefined && shared === child.label.length) {
    const next = put(child, key, value, owner);
    if (next.value === null && next.children === null) dropChild(mine, code);
    else mine.children?.set(code, value === null ? joined(next, owner) : next);
    return mine;
  }
  if (value === null) return mine;
  mine.children ??= new Map();
  const leaf = (from: number): TrieNode<V> => {
    const made = new TrieNode<V>(key.length, key.slice(from), owner);
    made.value = value;
    return made;
  };
  if (child === undefined) mine.children.set(code, leaf(node.depth));
  else mine.children.set(code, forked(node.depth, child, shared, key, leaf, value, owner));
  return mine;
}

/** A node where the key leaves the child's label. */
function forked<V>(
  depth: number,
  child: TrieNode<V>,
  shared: number,
  key: string,
  leaf: (from: number) => TrieNode<V>,
  value: V,
  owner: object,
): TrieNode<V> {
  const fork = new TrieNode<V>(depth + shared, child.label.slice(0, shared), owner);
  const rest = relabelled(child, child.label.slice(shared), owner);
  fork.children = new Map([[rest.label.charCodeAt(0), rest]]);
  if (key.length === fork.depth) fork.value = value;
  else fork.children.set(key.charCodeAt(fork.depth), leaf(fork.depth));
  return fork;
}

function relabelled<V>(node: TrieNode<V>, label: string, owner: object): TrieNode<V> {
  const copy = new TrieNode<V>(node.depth, label, owner);
  copy.value = node.value;
  // A map that is shared with another tree is copied by whoever changes it: `own` looks at the node's owner, which is new.
  copy.children = node.children === null || node.owner === owner ? node.children : new Map(node.children);
  return copy;
}

function dropChild<V>(node: TrieNode<V>, code: number): void {
  node.children?.delete(code);
  if (node.children?.size === 0) node.children = null;
}

/** A node that only leads on to one other is that one. */
function joined<V>(node: TrieNode<V>, owner: object): TrieNode<V> {
  if (node.value !== null || node.children === null || node.children.size !== 1) return node;
  const [only] = node.children.values() as IterableIterator<TrieNode<V>>;
  return only === undefined ? node : relabelled(only, node.label + only.label, owner);
}

/** Keys are ASCII (canonical paths and host names), so reversing code units is enough. */
const reverse = (s: string): string => Array.from(s).reverse().join('');

function sharedLength(key: string, from: number, label: string): number {
  const end = Math.min(key.length - from, label.length);
  let i = 0;
  while (i < end && key.charCodeAt(from + i) === label.charCodeAt(i)) i++;
  return i;
}
