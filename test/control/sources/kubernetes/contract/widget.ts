/** A kind for the suite: every form of list and map that the project's definitions use, defaults, bounds, a status. */

const condition = {
  type: 'object',
  required: ['type', 'status'],
  properties: { type: { type: 'string' }, status: { type: 'string' }, reason: { type: 'string' }, lastTransitionTime: { type: 'string' } },
};

const conditions = { type: 'array', 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'], items: condition };

const spec = {
  type: 'object',
  properties: {
    size: { type: 'integer', minimum: 0, maximum: 100 },
    color: { type: 'string', enum: ['red', 'green', 'blue'], default: 'red' },
    word: { type: 'string', pattern: '^[a-z]+$', maxLength: 8, minLength: 2 },
    port: { 'x-kubernetes-int-or-string': true },
    note: { type: 'string', nullable: true },
    tags: { type: 'array', 'x-kubernetes-list-type': 'set', maxItems: 3, items: { type: 'string' } },
    plain: { type: 'array', items: { type: 'string' } },
    parts: {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
      items: {
        type: 'object',
        required: ['name'],
        properties: { name: { type: 'string' }, weight: { type: 'integer', default: 1 }, owner: { type: 'string' } },
      },
    },
    ref: { type: 'object', 'x-kubernetes-map-type': 'atomic', properties: { kind: { type: 'string' }, name: { type: 'string' } } },
    deep: { type: 'object', properties: { value: { type: 'string', default: 'filled' } } },
    labels: { type: 'object', additionalProperties: { type: 'string' } },
    free: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
  },
};

const status = {
  type: 'object',
  properties: {
    count: { type: 'integer' },
    conditions,
    installations: {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
      items: { type: 'object', required: ['name'], properties: { name: { type: 'string' }, ready: { type: 'integer' }, conditions } },
    },
  },
};

export const GROUP = 'contract.spooky.dev';

export const definition = (plural: string, kind: string): object => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.${GROUP}` },
  spec: {
    group: GROUP,
    scope: 'Namespaced',
    names: { plural, singular: kind.toLowerCase(), kind, listKind: `${kind}List`, shortNames: [plural.slice(0, 3)] },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: { status: {} },
        selectableFields: [{ jsonPath: '.spec.color' }, { jsonPath: '.spec.size' }],
        schema: { openAPIV3Schema: { type: 'object', required: ['spec'], properties: { spec, status } } },
      },
    ],
  },
});
