/** A test's own hand in the store: past permissions and faults, with the rules of the API all the same. */
import type { Handler } from './handler.ts';
import { CUSTOM_RESOURCES, NAMESPACES, type Kinds } from './kinds.ts';
import { clone, isPlain, objectKey, type Kind, type KubeObject, type Plain } from './model.ts';
import type { Store } from './store.ts';
import { create, patch, remove, update, type WriteContext } from './writes.ts';

export class Objects {
  readonly #store: Store;
  readonly #kinds: Kinds;
  readonly #handler: Handler;
  readonly #now: () => number;

  constructor(store: Store, kinds: Kinds, handler: Handler, now: () => number) {
    this.#store = store;
    this.#kinds = kinds;
    this.#handler = handler;
    this.#now = now;
  }

  /** Of its `apiVersion` and `kind`, in its namespace (made when it is not there) or in `default`; a status that it has is kept. */
  create(object: Plain): KubeObject {
    const { kind, context } = this.#place(object);
    const { code: _code, body } = create(context, clone(object));
    const made = body as KubeObject;
    if (kind === CUSTOM_RESOURCES) this.#handler.define(made);
    if (isPlain(object['status']) && kind.subresources.includes('status') && kind !== NAMESPACES)
      return this.setStatus(kind.plural, made.metadata.namespace ?? null, made.metadata.name, object['status']);
    return made;
  }

  /** Whatever is there now is replaced, its status left alone. */
  replace(object: Plain): KubeObject {
    const { kind, context } = this.#place(object);
    const old = this.#store.get(kind, objectKey(context.namespace, context.name));
    const metadata = { ...(object['metadata'] as Plain), ...(old === undefined ? {} : { resourceVersion: old.metadata.resourceVersion }) };
    delete (metadata as Plain)['uid'];
    const made = update(context, clone({ ...object, metadata })).body as KubeObject;
    if (kind === CUSTOM_RESOURCES) this.#handler.define(made);
    return made;
  }

  /** Made, or replaced when it is there. */
  put(object: Plain): KubeObject {
    const { kind, context } = this.#place(object);
    return this.#store.get(kind, objectKey(context.namespace, context.name)) === undefined ? this.create(object) : this.replace(object);
  }

  /** A merge patch. */
  patch(plural: string, namespace: string | null, name: string, change: Plain): KubeObject {
    return patch(this.#context(this.#kinds.named(plural), namespace, name), 'application/merge-patch+json', change, true)
      .body as KubeObject;
  }

  setStatus(plural: string, namespace: string | null, name: string, status: unknown): KubeObject {
    const context = { ...this.#context(this.#kinds.named(plural), namespace, name), subresource: 'status' };
    return patch(context, 'application/json-patch+json', [{ op: 'add', path: '/status', value: status }], true).body as KubeObject;
  }

  /** A Namespace goes with everything in it, as controllers see to in a cluster. */
  remove(plural: string, namespace: string | null, name: string): void {
    const kind = this.#kinds.named(plural);
    const old = this.#store.get(kind, objectKey(namespace ?? undefined, name));
    remove(this.#context(kind, namespace, name), {});
    if (kind === NAMESPACES) this.#empty(name);
    if (kind === CUSTOM_RESOURCES && old !== undefined) this.#handler.undefine(old);
  }

  get(plural: string, namespace: string | null, name: string): KubeObject | undefined {
    return this.#store.get(this.#kinds.named(plural), objectKey(namespace ?? undefined, name));
  }

  list(plural: string, namespace: string | null = null): KubeObject[] {
    return this.#store.all(this.#kinds.named(plural)).filter((object) => namespace === null || object.metadata.namespace === namespace);
  }

  namespace(name: string, labels: Record<string, string> = {}): KubeObject {
    const old = this.#store.get(NAMESPACES, name);
    if (old !== undefined && Object.keys(labels).length === 0) return old;
    return this.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
  }

  #empty(namespace: string): void {
    for (const kind of this.#kinds.all().filter((k) => k.namespaced)) {
      for (const object of this.list(kind.plural, namespace)) this.#store.remove(kind, objectKey(namespace, object.metadata.name));
    }
    this.#store.remove(NAMESPACES, namespace);
  }

  #place(object: Plain): { kind: Kind; context: WriteContext } {
    const [apiVersion, name] = [String(object['apiVersion']), String(object['kind'])];
    const kind = this.#kinds.byKind(apiVersion, name);
    if (kind === undefined) throw new Error(`the API server has no kind ${apiVersion} ${name}`);
    const metadata = object['metadata'] as Plain;
    const namespace = kind.namespaced ? String(metadata['namespace'] ?? 'default') : null;
    if (namespace !== null) this.namespace(namespace);
    return { kind, context: this.#context(kind, namespace, String(metadata['name'] ?? '')) };
  }

  #context(kind: Kind, namespace: string | null, name: string): WriteContext {
    return {
      store: this.#store,
      kind,
      namespace: namespace ?? undefined,
      name,
      subresource: '',
      manager: 'test',
      dryRun: false,
      strict: false,
      now: this.#now,
    };
  }
}
