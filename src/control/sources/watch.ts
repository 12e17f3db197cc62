/**
 * Notices changes under a set of paths. Directories are watched, never files: an editor's rename, and the symbolic link `..data` that a
 * mounted ConfigMap or Secret swaps, are events of the directory. Whatever the kernel does not tell (network mounts, links of links,
 * a directory that went and came back), the caller's slow poll finds.
 */
import { watch, type FSWatcher } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isConfigName, type Input } from './load.ts';

const MAX_WATCHED = 1024;

/** `replaced`: the path has got its name, or has lost it, and did not just become other than it was. */
type OnEvent = (replaced: boolean, path: string) => void;

/** Which entries of a directory matter. */
interface Interest {
  readonly names: Set<string>;
  /** Everything that could be configuration. */
  config: boolean;
  everything: boolean;
}

interface Watched {
  readonly watcher: FSWatcher;
  readonly inode: bigint;
  interest: Interest;
}

export class Watch {
  private readonly onEvent: OnEvent;
  private readonly watched = new Map<string, Watched>();
  /** Where paths lead, while they look the same. */
  private targets = new Map<string, Target>();
  private stopped = false;

  constructor(onEvent: OnEvent) {
    this.onEvent = onEvent;
  }

  /** Follows new paths, leaves old ones; true when something is watched that was not before, so that a change may have been missed. */
  async follow(inputs: ReadonlyMap<string, Input>): Promise<boolean> {
    const targets = new Map<string, Target>();
    for (const [path, input] of inputs) {
      const known = this.targets.get(path);
      const same = known !== undefined && known.signature === input.signature;
      targets.set(path, same ? known : { signature: input.signature, path: await targetOf(path, input) });
    }
    this.targets = targets;
    const wanted = await interests(inputs, targets);
    for (const [directory, w] of this.watched) if (!wanted.has(directory)) this.drop(directory, w);
    let added = false;
    for (const [directory, interest] of wanted) added = (await this.one(directory, interest)) || added;
    return added;
  }

  stop(): void {
    this.stopped = true;
    for (const [directory, w] of this.watched) this.drop(directory, w);
  }

  private async one(directory: string, interest: Interest): Promise<boolean> {
    const inode = await inodeOf(directory);
    const old = this.watched.get(directory);
    // The same path may be another directory by now; its watcher would be silent for ever.
    if (old !== undefined && old.inode === inode) {
      old.interest = interest;
      return false;
    }
    if (old !== undefined) this.drop(directory, old);
    if (inode === null || this.stopped || this.watched.size >= MAX_WATCHED) return false;
    try {
      const watcher = watch(directory, { persistent: false });
      const entry: Watched = { watcher, inode, interest };
      watcher.on('change', (event, name) => this.event(entry, directory, event === 'rename', name === null ? null : String(name)));
      watcher.on('error', () => this.lost(directory, entry));
      this.watched.set(directory, entry);
      return true;
    } catch {
      return false;
    }
  }

  private event(entry: Watched, directory: string, replaced: boolean, name: string | null): void {
    if (this.stopped) return;
    const { names, config, everything } = entry.interest;
    // A directory tells its own end by its own name. Names with two dots are the links of mounted volumes.
    if (
      name === null ||
      everything ||
      name.startsWith('..') ||
      names.has(name) ||
      name === basename(directory) ||
      (config && isConfigName(name))
    )
      this.onEvent(replaced, name === null ? directory : join(directory, name));
  }

  private lost(directory: string, entry: Watched): void {
    if (this.watched.get(directory) === entry) this.drop(directory, entry);
    if (!this.stopped) this.onEvent(false, directory);
  }

  private drop(directory: string, w: Watched): void {
    w.watcher.close();
    this.watched.delete(directory);
  }
}

async function interests(inputs: ReadonlyMap<string, Input>, targets: ReadonlyMap<string, Target>): Promise<Map<string, Interest>> {
  const wanted = new Map<string, Interest>();
  const want = (directory: string): Interest => {
    let interest = wanted.get(directory);
    if (interest === undefined) wanted.set(directory, (interest = { names: new Set(), config: false, everything: false }));
    return interest;
  };
  // Thousands of files are in a few directories.
  const found = new Map<string, string>();
  const wantName = async (path: string): Promise<void> => {
    const directory = dirname(path);
    let there = found.get(directory);
    if (there === undefined) found.set(directory, (there = await existing(directory)));
    want(there).names.add(basename(path));
  };
  for (const [path, input] of inputs) {
    await wantName(path);
    if (input.kind === 'missing') {
      await wantMissing(path, want);
      continue;
    }
    const target = targets.get(path)?.path ?? path;
    if (target !== path) await wantName(target);
    if (input.kind === 'directory') wantInside(path, input, want);
  }
  return wanted;
}

interface Target {
  readonly signature: string;
  readonly path: string;
}

/** Where a path really is, when links lead elsewhere. */
const targetOf = (path: string, { kind }: Input): Promise<string> | string =>
  kind === 'missing' ? path : realpath(path).catch(() => path);

function wantInside(path: string, input: Input, want: (directory: string) => Interest): void {
  const inside = want(path);
  if (input.config) inside.config = true;
  else inside.everything = true;
}

/** The part of a path that is missing appears in the part that is there. */
async function wantMissing(path: string, want: (directory: string) => Interest): Promise<void> {
  let child = path;
  for (;;) {
    const parent = dirname(child);
    if (parent === child) return;
    if ((await inodeOf(parent)) !== null) {
      want(parent).names.add(basename(child));
      return;
    }
    child = parent;
  }
}

async function existing(directory: string): Promise<string> {
  let at = directory;
  while ((await inodeOf(at)) === null && dirname(at) !== at) at = dirname(at);
  return at;
}

async function inodeOf(path: string): Promise<bigint | null> {
  try {
    const s = await stat(path, { bigint: true });
    return s.isDirectory() ? s.ino : null;
  } catch {
    return null;
  }
}
