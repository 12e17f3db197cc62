/** Objects of Kubernetes as they are read from YAML, and what their roles allow. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: unknown;
  readonly rules?: readonly Rule[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { readonly kind: string; readonly name: string; readonly namespace: string }[];
}

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

/** Everything that a ServiceAccount may do: `NAMESPACE-or-* GROUP/RESOURCE[names]: verbs`. */
export const rights = (documents: readonly Manifest[], account: string): string[] => {
  const bindings = documents.filter((d) => d.roleRef !== undefined && d.subjects?.some((s) => s.kind === 'ServiceAccount' && s.name === account));
  const granted = bindings.flatMap((binding) => {
    const role = documents.find(
      (d) => d.kind === binding.roleRef?.kind && d.metadata.name === binding.roleRef.name && d.metadata.namespace === binding.metadata.namespace,
    );
    if (role?.rules === undefined) throw new Error(`${binding.metadata.name} binds a role that is not there`);
    return role.rules.map((rule) => [binding.metadata.namespace ?? '*', rule] as const);
  });
  const said = granted.flatMap(([where, rule]) =>
    rule.apiGroups.flatMap((group) =>
      rule.resources.map((resource) => {
        const names = rule.resourceNames === undefined ? '' : `[${rule.resourceNames.join(',')}]`;
        return `${where} ${group === '' ? 'core' : group}/${resource}${names}: ${rule.verbs.join(',')}`;
      }),
    ),
  );
  return said.sort();
};
