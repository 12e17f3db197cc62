/** Whose Upstreams a Listener admits. */
import type { Listener } from '../../contract/resources/index.ts';
import type { Draft, ListenerDraft } from './draft.ts';

type Selector = NonNullable<Listener['allowedNamespaces']['selector']>;
type Labels = ReadonlyMap<string, string>;

export function admits(draft: Draft, listener: ListenerDraft, namespace: string): boolean {
  const { from, selector } = listener.resource.spec.allowedNamespaces;
  switch (from) {
    case 'All':
      return true;
    case 'Same':
      return listener.name.namespace === namespace;
    case 'Selector': {
      const labels = draft.cluster?.objects.namespaces.get(namespace);
      draft.reads?.add('namespace', namespace, labels);
      const known = listener.admitted.get(namespace);
      if (known !== undefined) return known;
      // A namespace that is not known yet has no labels to go by.
      const admitted = selector !== undefined && labels !== undefined && selects(selector, labels);
      listener.admitted.set(namespace, admitted);
      return admitted;
    }
  }
}

/** As the API server reads a selector: one that says nothing selects everything, and NotIn holds for a label that is not there. */
export function selects(selector: Selector, labels: Labels): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) if (labels.get(key) !== value) return false;
  return (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = labels.get(key);
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
    }
  });
}
