/** What every written object goes through: type, names, schema. */
import { NAMESPACES } from './kinds.ts';
import { check, fill, prune } from './schema.ts';
import { apiVersionOf, clone, isPlain, type Cause, type Kind, type KubeObject, type Plain } from './model.ts';
import { badRequest, forbidden, invalid, notFound, wrongType } from './status.ts';
import type { WriteContext } from './writes.ts';

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const MICRO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$/;

/** A copy of a body that fits its path, defaulted by its schema unless it is to be applied. */
export function admit(c: WriteContext, body: Plain, defaults: 'of a client' | 'of a merge' | 'none' = 'of a client'): KubeObject {
  const { kind } = c;
  const [gotVersion, gotKind] = [String(body['apiVersion'] ?? ''), String(body['kind'] ?? '')];
  const metadata = isPlain(body['metadata']) ? body['metadata'] : {};
  const name = typeof metadata['name'] === 'string' ? metadata['name'] : '';
  if (kind.custom) {
    if (gotVersion !== apiVersionOf(kind) && gotVersion !== '') {
      throw badRequest(`the API version in the data (${gotVersion}) does not match the expected API version (${apiVersionOf(kind)})`);
    }
    if (gotVersion === '' || gotKind === '') throw badRequest(`Object 'Kind' is missing in ${JSON.stringify(JSON.stringify(body))}`);
    const causes = gotKind === kind.kind ? [] : [mustBe('kind', gotKind, kind.kind)];
    if (causes.length > 0)
      throw invalid({ group: gotVersion.includes('/') ? (gotVersion.split('/')[0] as string) : '', kind: gotKind }, name, causes);
  } else if ((gotKind !== '' && gotKind !== kind.kind) || (gotVersion !== '' && gotVersion !== apiVersionOf(kind)))
    throw wrongType(kind, gotKind, gotVersion);
  if (metadata['namespace'] !== undefined && metadata['namespace'] !== c.namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
  const object = clone({ ...body, apiVersion: apiVersionOf(kind), kind: kind.kind, metadata }) as unknown as KubeObject;
  if (kind.namespaced && c.namespace !== undefined) object.metadata.namespace = c.namespace;
  if (kind.members !== null) {
    const known = new Set(['apiVersion', 'kind', 'metadata', ...kind.members]);
    for (const name of Object.keys(object)) if (!known.has(name)) delete object[name];
  }
  if (kind.custom && kind.schema !== null) {
    const dropped = prune(object, kind.schema);
    if (c.strict && dropped.length > 0)
      throw badRequest(
        `${decoding(kind)}: strict decoding error: ${dropped
          .toSorted()
          .map((d) => `unknown field ${JSON.stringify(d)}`)
          .join(', ')}`,
      );
    if (defaults !== 'none') fill(object, kind.schema, defaults === 'of a merge' ? 'stay' : 'go');
  }
  checkTimes(kind, object);
  checkBase64(kind, object);
  checkNamespace(c);
  return object;
}

const mustBe = (field: string, got: string, wanted: string): Cause => ({
  reason: 'FieldValueInvalid',
  message: `Invalid value: ${JSON.stringify(got)}: must be ${wanted}`,
  field,
});

/** Nothing is made in a namespace that is not there or that is about to go. */
function checkNamespace(c: WriteContext): void {
  if (!c.kind.namespaced || c.namespace === undefined) return;
  const namespace = c.store.get(NAMESPACES, c.namespace);
  if (namespace === undefined) throw notFound(NAMESPACES, c.namespace);
  const fresh = c.store.get(c.kind, `${c.namespace}/${c.name}`) === undefined;
  if (fresh && namespace.metadata.deletionTimestamp !== undefined) {
    throw forbidden(c.kind, c.name, `unable to create new content in namespace ${c.namespace} because it is being terminated`);
  }
}

const decoding = ({ kind, version }: Kind): string => `${kind} in version ${JSON.stringify(version)} cannot be handled as a ${kind}`;

function checkBase64(kind: Kind, object: KubeObject): void {
  if (kind.kind !== 'Secret' || !isPlain(object['data'])) return;
  for (const value of Object.values(object['data'])) {
    const bad = typeof value !== 'string' ? 0 : value.search(/[^A-Za-z0-9+/=\n\r]/);
    if (bad >= 0) throw badRequest(`${decoding(kind)}: illegal base64 data at input byte ${bad}`);
  }
}

/** MicroTime is parsed with exactly six digits. */
function checkTimes(kind: Kind, object: KubeObject): void {
  const spec = isPlain(object['spec']) ? object['spec'] : {};
  const series = isPlain(object['series']) ? object['series'] : {};
  const fields: [string, unknown][] =
    kind.kind === 'Lease'
      ? [
          ['acquireTime', spec['acquireTime']],
          ['renewTime', spec['renewTime']],
        ]
      : kind.kind === 'Event'
        ? [
            ['eventTime', object['eventTime']],
            ['lastObservedTime', series['lastObservedTime']],
          ]
        : [];
  for (const [, value] of fields) {
    if (typeof value === 'string' && !MICRO_TIME.test(value)) {
      throw badRequest(
        `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: parsing time ${JSON.stringify(value)} as "2006-01-02T15:04:05.000000Z07:00": cannot parse`,
      );
    }
  }
}

export function checkNames(kind: Kind, object: KubeObject): void {
  const { name } = object.metadata;
  const bad = (message: string, reason: Cause['reason'] = 'FieldValueInvalid'): never => {
    throw invalid(kind, name ?? '', [{ reason, message, field: 'metadata.name' }]);
  };
  if (!name) bad('Required value: name or generateName is required', 'FieldValueRequired');
  const shape = kind.labelName ? LABEL : SUBDOMAIN;
  const fits =
    kind.group === 'rbac.authorization.k8s.io'
      ? !/[/%]|^\.\.?$/.test(name)
      : shape.test(name) && name.length <= (kind.labelName ? 63 : 253);
  if (!fits)
    bad(
      `Invalid value: ${JSON.stringify(name)}: a lowercase RFC 1123 ${kind.labelName ? 'label' : 'subdomain'} must consist of lower case alphanumeric characters`,
    );
}

export function validate(kind: Kind, object: KubeObject, old: KubeObject | null, _strict: boolean): void {
  const causes = [...(kind.custom && kind.schema !== null ? check(object, kind.schema) : []), ...(kind.validate?.(object, old) ?? [])];
  if (causes.length > 0) throw invalid(kind, object.metadata.name, causes);
}
