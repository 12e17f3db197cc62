/** Serving a file or a directory. */
import { compile, Memo } from '../../control/compile/index.ts';
import { createSource } from '../../control/sources/files.ts';
import type { SourceState } from '../../control/sources/source.ts';
import type { Feed, Mode } from './mode.ts';

export const filesMode = (path: string, cwd: string): Mode => {
  const source = createSource(path, { cwd });
  const memo = new Memo();
  let latest: SourceState | null = null;
  let onChange: (state: SourceState) => void = () => {};
  const feed: Feed = {
    start(listener) {
      onChange = listener;
      return Promise.resolve(latest as SourceState);
    },
    compile: (set) => compile(set, { standalone: true, memo }),
    endpoints: null,
    pending: () => [],
    report: () => {},
    serving: () => {},
    drain: () => Promise.resolve(),
    reread: () => source.reread(),
    stop: () => source.stop(),
  };
  return {
    name: path,
    perObject: false,
    serves: true,
    nodeId: null,
    deny: [],
    allowLoopback: true,
    async early() {
      latest = await source.start((state) => {
        // It may take long until somebody listens: another process is asked first what it serves with.
        latest = state;
        onChange(state);
      });
      return latest;
    },
    open: () => feed,
    close: () => source.stop(),
  };
};
