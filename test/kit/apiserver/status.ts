/** Refusals, in the words of the real server: `metav1.Status`. */
import { apiVersionOf, qualified, type Cause, type Kind, type Plain } from './model.ts';

export interface StatusBody {
  kind: 'Status';
  apiVersion: 'v1';
  metadata: Plain;
  status: 'Failure' | 'Success';
  message?: string;
  reason?: string;
  details?: Plain;
  code: number;
}

type Named = Pick<Kind, 'group' | 'plural'>;

/** Thrown by everything below the HTTP layer. */
export class Refusal extends Error {
  readonly body: StatusBody;

  constructor(code: number, reason: string | null, message: string, details?: Plain, metadata: Plain = {}) {
    super(message);
    this.body = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata,
      status: 'Failure',
      message,
      ...(reason === null ? {} : { reason }),
      ...(details === undefined ? {} : { details }),
      code,
    };
  }
}

const about = (kind: Named, name: string, key: string = kind.plural): Plain => ({
  ...(name === '' ? {} : { name }),
  ...(kind.group === '' ? {} : { group: kind.group }),
  kind: key,
});

export const notFound = (kind: Named, name: string): Refusal =>
  new Refusal(404, 'NotFound', `${qualified(kind)} ${JSON.stringify(name)} not found`, about(kind, name));

export const alreadyExists = (kind: Named, name: string): Refusal =>
  new Refusal(409, 'AlreadyExists', `${qualified(kind)} ${JSON.stringify(name)} already exists`, about(kind, name));

const STALE = 'the object has been modified; please apply your changes to the latest version and try again';

export const conflict = (kind: Named, name: string, why = STALE): Refusal =>
  new Refusal(409, 'Conflict', `Operation cannot be fulfilled on ${qualified(kind)} ${JSON.stringify(name)}: ${why}`, about(kind, name));

export const badRequest = (message: string): Refusal => new Refusal(400, 'BadRequest', message);

export const unauthorized = (): Refusal => new Refusal(401, 'Unauthorized', 'Unauthorized');

/** The type's name stands for the plural here: `Listener.spooky.dev "x" is invalid: ...`. */
export function invalid(kind: Pick<Kind, 'group' | 'kind'>, name: string, causes: readonly Cause[]): Refusal {
  const texts = causes.map((c) => `${c.field}: ${c.message}`);
  const detail = texts.length === 1 ? (texts[0] as string) : `[${texts.join(', ')}]`;
  const type = kind.group === '' ? kind.kind : `${kind.kind}.${kind.group}`;
  return new Refusal(422, 'Invalid', `${type} ${JSON.stringify(name)} is invalid: ${detail}`, {
    ...about({ group: kind.group, plural: kind.kind }, name),
    causes,
  });
}

export const forbidden = (kind: Named, name: string, why: string): Refusal =>
  new Refusal(
    403,
    'Forbidden',
    `${qualified(kind)}${name === '' ? '' : ` ${JSON.stringify(name)}`} is forbidden: ${why}`,
    about(kind, name),
  );

export const expired = (message: string, metadata: Plain = {}): Refusal => new Refusal(410, 'Expired', message, undefined, metadata);

export const tooLargeVersion = (asked: number, current: number): Refusal =>
  new Refusal(504, 'Timeout', `Timeout: Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });

export const unsupportedMedia = (accepted: readonly string[]): Refusal =>
  new Refusal(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  );

/** A resource that is not there in a group that is. */
export const noSuchResource = (): Refusal => new Refusal(404, 'NotFound', 'the server could not find the requested resource', {});

export const methodNotAllowed = (): Refusal =>
  new Refusal(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});

export const deleted = (kind: Kind, name: string, uid: string): StatusBody => ({
  kind: 'Status',
  apiVersion: 'v1',
  metadata: {},
  status: 'Success',
  details: { ...about(kind, name), uid },
  code: 200,
});

/** A body of another type than the path's. */
export const wrongType = (kind: Kind, gotKind: string, gotVersion: string): Refusal =>
  badRequest(
    `${gotKind} in version ${JSON.stringify(gotVersion)} cannot be handled as a ${kind.kind}: no kind ${JSON.stringify(gotKind)} is registered for version ${JSON.stringify(apiVersionOf(kind))}`,
  );
