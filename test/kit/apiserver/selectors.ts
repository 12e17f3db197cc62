/** Label and field selectors. */
import { qualified, type Kind, type KubeObject } from './model.ts';
import { badRequest } from './status.ts';

export type Predicate = (object: KubeObject) => boolean;

/** `a=b,c!=d,e in (f,g),h notin (i),j,!k`. */
export function labelPredicate(text: string): Predicate {
  const tests = split(text).map(labelTest);
  return (object) => tests.every((test) => test(object.metadata.labels ?? {}));
}

type LabelTest = (labels: Readonly<Record<string, string>>) => boolean;

const REQUIREMENT = /^(!?)\s*([A-Za-z0-9][-A-Za-z0-9_./]*)\s*(?:(==|=|!=)\s*([-A-Za-z0-9_.]*)|\s(in|notin)\s*\(([^)]*)\))?$/;

function labelTest(text: string): LabelTest {
  const match = REQUIREMENT.exec(text.trim());
  if (match === null) throw badRequest(`unable to parse requirement: found ${JSON.stringify(text)}, expected: a label selector`);
  const [, not, key = '', op, value = '', set, list = ''] = match;
  if (op !== undefined) return op === '!=' ? (labels) => labels[key] !== value : (labels) => labels[key] === value;
  if (set !== undefined) {
    const values = new Set(list.split(',').map((v) => v.trim()));
    const has: LabelTest = (labels) => key in labels && values.has(labels[key] as string);
    return set === 'in' ? has : (labels) => !has(labels);
  }
  return not === '!' ? (labels) => !(key in labels) : (labels) => key in labels;
}

/** At commas outside of parentheses. */
function split(text: string): string[] {
  const parts = text.split(/,(?![^(]*\))/);
  return parts.filter((part) => part.trim() !== '');
}

/** `metadata.name=x,spec.port!=1`. */
export function fieldPredicate(text: string, kind: Kind): Predicate {
  const tests = split(text).map((part): Predicate => {
    const match = /^([^=!]+)(==|=|!=)(.*)$/.exec(part.trim());
    if (match === null) throw badRequest(`invalid selector: ${JSON.stringify(text)}; can't understand ${JSON.stringify(part)}`);
    const [, path = '', op, wanted = ''] = match;
    const known = path === 'metadata.name' || (path === 'metadata.namespace' && kind.namespaced) || kind.selectable.includes(path);
    // Built-in types without fields of their own have a stock answer.
    const stock = !kind.custom && kind.selectable.length === 0;
    const own = `${JSON.stringify(path)} is not a known field selector: only "metadata.name", "metadata.namespace"`;
    if (!known) throw badRequest(stock ? own : `field label not supported: ${path}`);
    return (object) => (fieldText(object, path, kind) === wanted) === (op !== '!=');
  });
  return (object) => tests.every((test) => test(object));
}

function fieldText(object: KubeObject, path: string, kind: Kind): string {
  let value: unknown = object;
  for (const step of path.split('.')) {
    if (typeof value !== 'object' || value === null) return '';
    value = (value as Record<string, unknown>)[step];
  }
  if (value === undefined || value === null) return '';
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw badRequest(`field label not supported: ${path} of ${qualified(kind)}`);
}

/** Both, and the namespace; null when everything is taken. */
export function predicate(kind: Kind, namespace: string | null, labels: string, fields: string): Predicate | null {
  const all: Predicate[] = [];
  if (namespace !== null) all.push((object) => object.metadata.namespace === namespace);
  if (labels !== '') all.push(labelPredicate(labels));
  if (fields !== '') all.push(fieldPredicate(fields, kind));
  return all.length === 0 ? null : (object) => all.every((test) => test(object));
}
