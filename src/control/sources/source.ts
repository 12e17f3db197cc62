/** Where configuration comes from: files, a cluster, memory. */
import type { Problem, ResourceSet, SettingsDocument } from '../../contract/resources/index.ts';

export interface SourceState {
  readonly set: ResourceSet;
  readonly problems: readonly Problem[];
  /** The `Settings` document; null when there is none. */
  readonly settings: SettingsDocument | null;
  /** Faults of the `Settings` document; they are not among `problems`. */
  readonly settingsProblems: readonly Problem[];
}

export interface Source {
  /** Reads the first complete state, then calls `onChange` with every later one. */
  start(onChange: (state: SourceState) => void): Promise<SourceState>;
  /** Reads again now, whether or not a change was noticed. */
  reread(): void;
  stop(): Promise<void>;
}
