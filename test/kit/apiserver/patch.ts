/** RFC 7386 (merge patch) and RFC 6902 (JSON patch). */
import { clone, isPlain, type Plain, same } from './model.ts';
import { badRequest, Refusal } from './status.ts';

export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isPlain(patch)) return clone(patch);
  const out: Plain = isPlain(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete out[name];
    else out[name] = mergePatch(out[name], value);
  }
  return out;
}

/** What the patch asks cannot be done to this object. */
const cannot = (message: string): Refusal => new Refusal(422, 'Invalid', message, {});

export function jsonPatch(target: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest('error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch');
  let root = clone(target);
  for (const step of patch as unknown[]) {
    if (!isPlain(step)) throw badRequest('error decoding patch: an operation is not an object');
    root = operation(root, step);
  }
  return root;
}

function operation(root: unknown, step: Plain): unknown {
  const path = pointer(step['path']);
  switch (step['op']) {
    case 'add':
      return edit(root, path, 'add', clone(step['value']));
    case 'replace':
      return edit(root, path, 'set', clone(step['value']));
    case 'remove':
      read(root, path);
      return edit(root, path, 'remove', undefined);
    case 'test':
      if (!same(read(root, path, true), step['value'])) throw cannot('the server rejected our request due to an error in our request');
      return root;
    case 'copy':
      return edit(root, path, 'add', clone(read(root, pointer(step['from']))));
    case 'move': {
      const from = pointer(step['from']);
      const value = read(root, from);
      return edit(edit(root, from, 'remove', undefined), path, 'add', value);
    }
    default:
      throw cannot(`Unexpected kind: ${String(step['op'])}`);
  }
}

function pointer(text: unknown): string[] {
  if (typeof text !== 'string' || (text !== '' && !text.startsWith('/'))) throw cannot('the path is not a JSON pointer');
  return text === ''
    ? []
    : text
        .slice(1)
        .split('/')
        .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function read(root: unknown, path: readonly string[], lenient = false): unknown {
  let value = root;
  for (const step of path) {
    const next = Array.isArray(value) ? (value[Number(step)] as unknown) : isPlain(value) ? value[step] : undefined;
    if (next === undefined) {
      if (lenient) return undefined;
      throw cannot('the server rejected our request due to an error in our request');
    }
    value = next;
  }
  return value;
}

function edit(root: unknown, path: readonly string[], how: 'add' | 'set' | 'remove', value: unknown): unknown {
  const last = path.at(-1);
  if (last === undefined) return how === 'remove' ? null : value;
  const parent = read(root, path.slice(0, -1));
  if (Array.isArray(parent)) {
    const index = last === '-' ? parent.length : Number(last);
    if (!Number.isInteger(index) || index < 0 || index > parent.length)
      throw cannot('the server rejected our request due to an error in our request');
    if (how === 'add') parent.splice(index, 0, value);
    else if (how === 'set') parent[index] = value;
    else parent.splice(index, 1);
  } else if (isPlain(parent)) {
    if (how === 'remove') delete parent[last];
    else parent[last] = value;
  } else throw cannot('the server rejected our request due to an error in our request');
  return root;
}
