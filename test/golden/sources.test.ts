import { describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { loadPaths } from '../../src/control/sources/load.ts';
import type { SourceState } from '../../src/control/sources/source.ts';
import type { ObjectMeta, Problem, Resource } from '../../src/contract/resources/index.ts';
import { expectGolden, GOLDEN, goldenCases } from '../kit/golden.ts';

const relative = (text: string, root: string): string => text.replaceAll(`${root}/`, '');

/** A state as text for people: what is secret stays so, and paths do not depend on the machine. */
function render(state: SourceState, root: string): string {
  const line = (p: Problem) => `${p.severity} ${p.file}:${p.line}:${p.column} [${p.object}] ${p.path}: ${p.message}`;
  const place = (meta: ObjectMeta) => {
    const at = meta.origin?.locate('') ?? { line: 0, column: 0 };
    return `${meta.origin?.file}:${at.line}:${at.column}`;
  };
  const specs = (map: ReadonlyMap<string, Resource<unknown>>) => Object.fromEntries([...map].map(([key, o]) => [key, { at: place(o.meta), labels: Object.fromEntries(o.meta.labels), created: o.meta.created, spec: o.spec }]));
  const data = (map: ReadonlyMap<string, { meta: ObjectMeta; data: ReadonlyMap<string, unknown> }>) =>
    Object.fromEntries([...map].map(([key, o]) => [key, { at: place(o.meta), data: Object.fromEntries([...o.data].map(([k, v]) => [k, String(v)])) }]));
  const { set } = state;
  const text = stringify(
    {
      problems: state.problems.map(line),
      settingsProblems: state.settingsProblems.map(line),
      settings: state.settings,
      listeners: specs(set.listeners),
      upstreams: specs(set.upstreams),
      secrets: data(set.secrets),
      configMaps: data(set.configMaps),
      files: Object.fromEntries([...set.files].map(([path, f]) => [path, f.ok ? `${f.bytes.length} bytes` : f.problem])),
    },
    { lineWidth: 0, aliasDuplicateObjects: false },
  );
  return relative(text, root);
}

describe.each(['documents', 'classic'])('%s', (folder) => {
  test.each(goldenCases(folder))('%s', async (name) => {
    const root = join(GOLDEN, folder, name);
    const { state } = await loadPaths(['in'], { cwd: root });
    expectGolden(join(folder, name, 'out.yaml'), render(state, root));
  });

  test('there are cases', () => {
    expect(goldenCases(folder).length).toBeGreaterThanOrEqual(4);
  });
});
