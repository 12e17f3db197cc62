/** Who asks, and what they may: bearer tokens, allow lists of tests, and the RBAC objects in the store. */
import { randomBytes } from 'node:crypto';
import { CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS } from './kinds.ts';
import { isPlain, type KubeObject, type Plain } from './model.ts';
import type { Store } from './store.ts';

export interface User {
  readonly name: string;
  readonly groups: readonly string[];
}

/** What a request wants to do, as an authorizer sees it. */
export interface Attributes {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string | null;
  readonly name: string;
}

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
  /** Of an allow list: only there; absent: everywhere. */
  readonly namespace?: string;
}

export const MASTERS = 'system:masters';

export class Access {
  readonly #store: Store;
  #tokens = new Map<string, User>();
  #rules = new Map<string, readonly Rule[]>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** A new token for a user; without a name of its own a random one. */
  issue(user: User, token = randomBytes(24).toString('base64url')): string {
    this.#tokens.set(token, user);
    return token;
  }

  revoke(token: string): User | undefined {
    const user = this.#tokens.get(token);
    this.#tokens.delete(token);
    return user;
  }

  user(token: string): User | undefined {
    return this.#tokens.get(token);
  }

  /** Beside what the store's RBAC objects give. */
  allow(user: string, rules: readonly Rule[]): void {
    this.#rules.set(user, rules);
  }

  allowed(user: User, wanted: Attributes): boolean {
    if (user.groups.includes(MASTERS)) return true;
    return this.rulesOf(user).some((rule) => fits(rule, wanted));
  }

  /** All rules that hold for a user, each with the namespace that it is bound to. */
  rulesOf(user: User): Rule[] {
    const rules = [...(this.#rules.get(user.name) ?? [])];
    for (const binding of this.#store.all(CLUSTER_ROLE_BINDINGS)) if (binds(binding, user)) rules.push(...this.#roleRules(binding));
    for (const binding of this.#store.all(ROLE_BINDINGS)) {
      if (!binds(binding, user)) continue;
      const namespace = binding.metadata.namespace ?? '';
      rules.push(...this.#roleRules(binding).map((rule) => ({ ...rule, namespace })));
    }
    return rules;
  }

  #roleRules(binding: KubeObject): Rule[] {
    const ref = binding['roleRef'] as { kind: string; name: string };
    const role =
      ref.kind === 'ClusterRole'
        ? this.#store.get(CLUSTER_ROLES, ref.name)
        : this.#store.get(ROLES, `${binding.metadata.namespace}/${ref.name}`);
    return Array.isArray(role?.['rules']) ? (role['rules'] as Plain[]).map(ruleOf) : [];
  }
}

const texts = (value: unknown): string[] => (Array.isArray(value) ? value.map(String) : []);

function ruleOf(rule: Plain): Rule {
  const names = texts(rule['resourceNames']);
  return {
    apiGroups: texts(rule['apiGroups']),
    resources: texts(rule['resources']),
    verbs: texts(rule['verbs']),
    ...(names.length === 0 ? {} : { resourceNames: names }),
  };
}

function binds(binding: KubeObject, user: User): boolean {
  const subjects = Array.isArray(binding['subjects']) ? binding['subjects'].filter(isPlain) : [];
  return subjects.some((subject) => {
    if (subject['kind'] === 'Group') return user.groups.includes(String(subject['name']));
    if (subject['kind'] === 'User') return user.name === subject['name'];
    const namespace = subject['namespace'] ?? binding.metadata.namespace;
    return subject['kind'] === 'ServiceAccount' && user.name === `system:serviceaccount:${String(namespace)}:${String(subject['name'])}`;
  });
}

const among = (list: readonly string[], value: string): boolean => list.includes('*') || list.includes(value);

export function fits(rule: Rule, wanted: Attributes): boolean {
  const resource = wanted.subresource === '' ? wanted.resource : `${wanted.resource}/${wanted.subresource}`;
  return (
    among(rule.verbs, wanted.verb) &&
    among(rule.apiGroups, wanted.group) &&
    (among(rule.resources, resource) || (wanted.subresource !== '' && rule.resources.includes(`*/${wanted.subresource}`))) &&
    (rule.namespace === undefined || rule.namespace === wanted.namespace) &&
    // A name rule says nothing about what has no name: creations, and lists without a selector by name.
    (rule.resourceNames === undefined || (wanted.name !== '' && rule.resourceNames.includes(wanted.name)))
  );
}

/** `User "x" cannot list resource "services" in API group "" at the cluster scope`. */
export function denial(user: User, wanted: Attributes): string {
  const resource = wanted.subresource === '' ? wanted.resource : `${wanted.resource}/${wanted.subresource}`;
  const where = wanted.namespace === null ? 'at the cluster scope' : `in the namespace ${JSON.stringify(wanted.namespace)}`;
  return `User ${JSON.stringify(user.name)} cannot ${wanted.verb} resource ${JSON.stringify(resource)} in API group ${JSON.stringify(wanted.group)} ${where}`;
}

export const serviceAccount = (namespace: string, name: string): User => ({
  name: `system:serviceaccount:${namespace}:${name}`,
  groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
});
