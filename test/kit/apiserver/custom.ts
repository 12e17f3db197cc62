/** Kinds that a CustomResourceDefinition describes. */
import { isPlain, type Kind, type KubeObject, type Plain, type Schema } from './model.ts';

interface Version {
  readonly name: string;
  readonly served: boolean;
  readonly schema?: { readonly openAPIV3Schema?: Schema };
  readonly subresources?: { readonly status?: unknown };
  readonly selectableFields?: readonly { readonly jsonPath: string }[];
}

interface Definition {
  readonly group: string;
  readonly scope: 'Namespaced' | 'Cluster';
  readonly names: { readonly plural: string; readonly kind: string; readonly shortNames?: readonly string[] };
  readonly versions: readonly Version[];
}

/** One for each served version. */
export function kindsOf(definition: Plain | KubeObject): Kind[] {
  const spec = definition['spec'] as unknown as Definition;
  return spec.versions
    .filter((version) => version.served)
    .map((version) => ({
      group: spec.group,
      version: version.name,
      plural: spec.names.plural,
      kind: spec.names.kind,
      namespaced: spec.scope === 'Namespaced',
      subresources: isPlain(version.subresources?.status) ? ['status'] : [],
      generation: true,
      labelsGenerate: false,
      selectable: (version.selectableFields ?? []).map(({ jsonPath }) => jsonPath.replace(/^\./, '')),
      custom: true,
      createOnUpdate: false,
      unconditionalUpdate: false,
      statusOnDelete: true,
      labelName: false,
      shortNames: spec.names.shortNames ?? [],
      schema: version.schema?.openAPIV3Schema ?? null,
      members: null,
      defaults: null,
      validate: null,
    }));
}

/** A definition of a few lines, for kinds of which a test needs no schema. */
export const looseDefinition = (group: string, versions: readonly string[], kind: string, plural: string, scope = 'Namespaced'): Plain => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.${group}`, annotations: { 'api-approved.kubernetes.io': 'unapproved, test' } },
  spec: {
    group,
    scope,
    names: { plural, singular: kind.toLowerCase(), kind, listKind: `${kind}List` },
    versions: versions.map((name, i) => ({
      name,
      served: true,
      storage: i === 0,
      schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
    })),
  },
});
