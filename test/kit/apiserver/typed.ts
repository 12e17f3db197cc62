/** What the code of built-in types fills in and refuses, as far as this project meets it. */
import { isIP } from 'node:net';
import { isPlain, type Cause, type Kind, type KubeObject, type Plain, type Schema } from './model.ts';

type Rules = Partial<Pick<Kind, 'members' | 'schema' | 'defaults' | 'validate'>>;

const byKeys = (...keys: string[]): Schema => ({ type: 'array', 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': keys });
const asSet: Schema = { type: 'array', 'x-kubernetes-list-type': 'set' };
const conditions: Schema = { type: 'object', properties: { conditions: byKeys('type') } };

const invalid = (field: string, value: unknown, why: string): Cause => ({
  reason: 'FieldValueInvalid',
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
  field,
});
const required = (field: string, why = ''): Cause => ({
  reason: 'FieldValueRequired',
  message: why === '' ? 'Required value' : `Required value: ${why}`,
  field,
});
const immutable = (field: string, value: unknown): Cause => invalid(field, value, 'field is immutable');

const list = (value: unknown): Plain[] => (Array.isArray(value) ? value.filter(isPlain) : []);

function serviceDefaults(object: KubeObject): void {
  const spec = (isPlain(object['spec']) ? object['spec'] : (object['spec'] = {})) as Plain;
  spec['type'] ??= 'ClusterIP';
  spec['sessionAffinity'] ??= 'None';
  for (const port of list(spec['ports'])) {
    port['protocol'] ??= 'TCP';
    port['targetPort'] ??= port['port'];
  }
  object['status'] ??= { loadBalancer: {} };
  if (spec['type'] === 'ExternalName') return;
  spec['internalTrafficPolicy'] ??= 'Cluster';
  spec['ipFamilyPolicy'] ??= 'SingleStack';
  spec['ipFamilies'] ??= ['IPv4'];
  spec['clusterIP'] ??= address(object.metadata.uid);
  spec['clusterIPs'] ??= [spec['clusterIP']];
  if (spec['type'] !== 'ClusterIP') spec['externalTrafficPolicy'] ??= 'Cluster';
}

/** Some address of 198.19.0.0/16, the same for the same object. */
function address(uid: string): string {
  const n = Number.parseInt(uid.slice(0, 4), 16);
  return `198.19.${n >> 8}.${n & 0xff}`;
}

function validateService(object: KubeObject): Cause[] {
  const spec = object['spec'] as Plain;
  const ports = list(spec['ports']);
  if (spec['type'] === 'ExternalName') return typeof spec['externalName'] === 'string' ? [] : [required('spec.externalName')];
  if (ports.length === 0 && spec['clusterIP'] !== 'None') return [required('spec.ports')];
  const causes: Cause[] = [];
  ports.forEach((port, i) => {
    if (ports.length > 1 && typeof port['name'] !== 'string') causes.push(required(`spec.ports[${i}].name`));
    if (typeof port['port'] !== 'number' || port['port'] < 1 || port['port'] > 65_535) {
      const range = 'must be between 1 and 65535, inclusive';
      causes.push(invalid(`spec.ports[${i}].port`, port['port'] ?? 0, range));
      if (port['targetPort'] === port['port']) causes.push(invalid(`spec.ports[${i}].targetPort`, port['port'] ?? 0, range));
    }
  });
  return causes;
}

function validateSlice(object: KubeObject, old: KubeObject | null): Cause[] {
  const causes: Cause[] = [];
  const type = object['addressType'];
  if (type === undefined) causes.push(required('addressType'));
  else if (type !== 'IPv4' && type !== 'IPv6' && type !== 'FQDN') {
    causes.push({
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(type)}: supported values: "FQDN", "IPv4", "IPv6"`,
      field: 'addressType',
    });
  }
  if (old !== null && old['addressType'] !== type) causes.push(immutable('addressType', type));
  list(object['endpoints']).forEach((endpoint, i) => causes.push(...validateEndpoint(endpoint, type, `endpoints[${i}]`)));
  return causes;
}

function validateEndpoint(endpoint: Plain, type: unknown, field: string): Cause[] {
  const addresses = Array.isArray(endpoint['addresses']) ? endpoint['addresses'] : [];
  if (addresses.length === 0) return [required(`${field}.addresses`, 'must contain at least 1 address')];
  const family = type === 'IPv4' ? 4 : type === 'IPv6' ? 6 : 0;
  return addresses.flatMap((value: unknown, i): Cause[] => {
    const text = String(value);
    if (family === 0) return [];
    const at = `${field}.addresses[${i}]`;
    if (isIP(text) !== family) return [invalid(at, text, `must be an ${String(type)} address`)];
    const loopback = family === 4 ? text.startsWith('127.') : text === '::1';
    return loopback ? [invalid(at, text, 'may not be in the loopback range (127.0.0.0/8, ::1/128)')] : [];
  });
}

function secretDefaults(object: KubeObject): void {
  object['type'] ??= 'Opaque';
  if (!isPlain(object['stringData'])) return;
  const data = (object['data'] ??= {}) as Plain;
  for (const [key, value] of Object.entries(object['stringData'])) data[key] = Buffer.from(String(value)).toString('base64');
  delete object['stringData'];
}

function validateSecret(object: KubeObject, old: KubeObject | null): Cause[] {
  const causes: Cause[] = [];
  const data = isPlain(object['data']) ? object['data'] : {};
  if (old !== null && old['type'] !== object['type']) causes.push(immutable('type', object['type']));
  if (object['type'] === 'kubernetes.io/tls') {
    for (const key of ['tls.crt', 'tls.key']) if (!(key in data)) causes.push(required(`data[${key}]`));
  }
  return causes;
}

function validateEvent(object: KubeObject): Cause[] {
  const causes: Cause[] = [];
  if (object['eventTime'] === undefined || object['eventTime'] === null) causes.push(required('eventTime'));
  if (!object['reportingController']) causes.push(required('reportingController'));
  if (!object['reportingInstance']) causes.push(required('reportingInstance'));
  if (!object['action']) causes.push(required('action'));
  if (!object['reason']) causes.push(required('reason'));
  if (typeof object['reason'] === 'string' && object['reason'].length > 128)
    causes.push(invalid('reason', '', 'can have at most 128 characters'));
  if (object['type'] !== 'Normal' && object['type'] !== 'Warning') causes.push(invalid('type', object['type'] ?? '', 'has invalid value'));
  if (typeof object['note'] === 'string' && object['note'].length > 1024) causes.push(invalid('note', '', 'can have at most 1024 bytes'));
  return causes;
}

function validateLease(object: KubeObject): Cause[] {
  const spec = isPlain(object['spec']) ? object['spec'] : {};
  const seconds = spec['leaseDurationSeconds'];
  return typeof seconds === 'number' && seconds <= 0 ? [invalid('spec.leaseDurationSeconds', seconds, 'must be greater than 0')] : [];
}

function namespaceDefaults(object: KubeObject): void {
  object['spec'] ??= { finalizers: ['kubernetes'] };
  object['status'] ??= { phase: 'Active' };
  object.metadata.labels = { ...object.metadata.labels, 'kubernetes.io/metadata.name': object.metadata.name };
}

/** Null where the type has a list and the object none. */
function sliceDefaults(object: KubeObject): void {
  for (const field of ['endpoints', 'ports']) if (!Array.isArray(object[field]) || object[field].length === 0) object[field] = null;
  for (const endpoint of list(object['endpoints'])) endpoint['conditions'] ??= {};
  for (const port of list(object['ports'])) {
    port['name'] ??= '';
    port['protocol'] ??= 'TCP';
  }
}

export const TYPED: Readonly<Record<string, Rules>> = {
  Namespace: { defaults: namespaceDefaults, schema: { type: 'object', properties: { status: conditions } } },
  Service: {
    defaults: serviceDefaults,
    validate: validateService,
    schema: {
      type: 'object',
      properties: {
        spec: { type: 'object', properties: { ports: byKeys('port', 'protocol') } },
        status: { type: 'object', properties: { conditions: byKeys('type') } },
      },
    },
  },
  EndpointSlice: { members: ['addressType', 'endpoints', 'ports'], defaults: sliceDefaults, validate: validateSlice },
  ConfigMap: { members: ['data', 'binaryData', 'immutable'] },
  Secret: { members: ['data', 'stringData', 'type', 'immutable'], defaults: secretDefaults, validate: validateSecret },
  Event: {
    members: [
      'eventTime',
      'series',
      'reportingController',
      'reportingInstance',
      'action',
      'reason',
      'regarding',
      'related',
      'note',
      'type',
    ],
    validate: validateEvent,
  },
  Lease: { validate: validateLease },
  Pod: { schema: { type: 'object', properties: { status: conditions } } },
  Node: { schema: { type: 'object', properties: { status: conditions } } },
  Role: { members: ['rules'] },
  ClusterRole: { members: ['rules', 'aggregationRule'] },
  RoleBinding: { members: ['subjects', 'roleRef'] },
  ClusterRoleBinding: { members: ['subjects', 'roleRef'] },
  ServiceAccount: {
    members: ['secrets', 'imagePullSecrets', 'automountServiceAccountToken'],
    schema: { type: 'object', properties: { secrets: byKeys('name'), finalizers: asSet } },
  },
};
