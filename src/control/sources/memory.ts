/** A source for tests: the states are set by hand. */
import { emptySet, type ResourceSet } from '../../contract/resources/index.ts';
import type { Source, SourceState } from './source.ts';

export const stateOf = (set: ResourceSet): SourceState => ({ set, problems: [], settings: null, settingsProblems: [] });

export class MemorySource implements Source {
  private state: SourceState;
  private onChange: ((state: SourceState) => void) | null = null;

  constructor(state: SourceState = stateOf(emptySet())) {
    this.state = state;
  }

  start(onChange: (state: SourceState) => void): Promise<SourceState> {
    this.onChange = onChange;
    return Promise.resolve(this.state);
  }

  set(state: SourceState): void {
    this.state = state;
    this.onChange?.(state);
  }

  reread(): void {
    this.onChange?.(this.state);
  }

  stop(): Promise<void> {
    this.onChange = null;
    return Promise.resolve();
  }
}
