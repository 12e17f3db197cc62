/** Step 3: objects that the schema refuses. They are absent for everybody else, and told what is wrong with them. */
import { objectKey, type RejectedObject } from '../../contract/resources/index.ts';
import { byName, type Draft } from './draft.ts';
import { Report } from './reports.ts';

/** Faults that are told one by one. */
const TOLD = 5;

export function rejected(draft: Draft): void {
  if (draft.cluster === null) return;
  const { listeners, upstreams } = draft.set;
  // One that can be read after all has a status of its own.
  if (draft.cluster.objects.rejected.length === 0) return;
  const refused = draft.cluster.objects.rejected.filter(({ kind, meta }) => {
    const valid = kind === 'Listener' ? listeners : upstreams;
    return !valid.has(objectKey(meta.namespace, meta.name));
  });
  draft.rejected = refused
    .sort((a, b) => (a.kind === b.kind ? byName(a.meta, b.meta) : a.kind === 'Listener' ? -1 : 1))
    .map(({ kind, meta, faults }) => {
      const errors = faults.filter((f) => f.severity === 'error');
      for (const fault of errors.slice(0, TOLD))
        draft.reports.push(new Report(draft.step, 'error', kind, meta, fault.path, fault.message, 'full'));
      return { kind, meta, message: describe(errors) };
    });
}

function describe(errors: RejectedObject['faults']): string {
  const told = errors.slice(0, TOLD).map((f) => `${f.path}: ${f.message}`);
  const more = errors.length > TOLD ? `; and ${errors.length - TOLD} more` : '';
  return `${errors.length === 1 ? '1 fault' : `${errors.length} faults`}: ${told.join('; ')}${more}`;
}
