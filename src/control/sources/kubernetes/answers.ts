/** What an API server says when it does not do what was asked, as data. */
import type { ApiError, ApiErrorKind } from './api.ts';

export const asRecord = (value: unknown): Readonly<Record<string, unknown>> | null =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Readonly<Record<string, unknown>>) : null;
export const asArray = (value: unknown): readonly unknown[] | null => (Array.isArray(value) ? value : null);

const MAX_MESSAGE = 1024;
const MAX_REASON = 64;
// What terminals and line readers act upon.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;
const escapeChar = (c: string): string => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** Fit for a log line and a condition, at most 1 kB. */
export const cleanMessage = (text: string): string => text.slice(0, MAX_MESSAGE).replace(UNSAFE, escapeChar).slice(0, MAX_MESSAGE);

/** Also of an error of another realm. */
export const codeOf = (e: unknown): string => (typeof e === 'object' && e !== null && 'code' in e ? String(e.code) : '');
export const messageOf = (e: unknown): string => {
  const message = typeof e === 'object' && e !== null && 'message' in e ? String(e.message) : String(e);
  return cleanMessage(message === '' ? codeOf(e) || 'no reason given' : message);
};

export const apiError = (kind: ApiErrorKind, message: string, status = 0): ApiError => ({
  kind,
  status,
  message: cleanMessage(message),
  reason: '',
  retryAfterMs: null,
});

/** Of the 4xx that mean more than that the request is wrong. */
const BY_STATUS: Readonly<Record<number, ApiErrorKind>> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  405: 'not_found',
  409: 'conflict',
  410: 'gone',
  429: 'throttled',
};

const kindOf = (status: number, reason: string): ApiErrorKind => {
  // An expired watch or list is also told as an event, whose code some servers leave out.
  if (reason === 'Expired' || reason === 'Gone') return 'gone';
  return BY_STATUS[status] ?? (status >= 400 && status < 500 ? 'invalid' : 'server');
};

const MAX_SECONDS = 86_400;
const MAX_CAUSES = 64;

/** Seconds, as the API server writes it; dates are for others. */
export const retryAfter = (seconds: unknown): number | null => {
  const n = typeof seconds === 'string' && /^[0-9]{1,9}$/.test(seconds) ? Number(seconds) : seconds;
  return typeof n === 'number' && Number.isFinite(n) && n >= 0 ? Math.min(n, MAX_SECONDS) * 1000 : null;
};

/** The one cause that callers act upon: it hides behind `Timeout`, or behind nothing. */
const TOO_LARGE = 'ResourceVersionTooLarge';

const reasonOf = (status: Readonly<Record<string, unknown>>, details: Readonly<Record<string, unknown>> | null): string => {
  const causes = asArray(details?.['causes'])?.slice(0, MAX_CAUSES) ?? [];
  if (causes.some((cause) => asRecord(cause)?.['reason'] === TOO_LARGE)) return TOO_LARGE;
  return typeof status['reason'] === 'string' ? cleanMessage(status['reason']).slice(0, MAX_REASON) : '';
};

/** What is meant when there is no Status object. */
const WITHOUT: ReadonlyMap<number, string> = new Map([[404, 'the API server does not know this kind']]);

/** `body` is a Status object, or what a proxy in between wrote; `header` is the value of Retry-After. */
export const statusError = (code: number, body: unknown, header: unknown = undefined): ApiError => {
  const said = asRecord(body);
  const status = said?.['kind'] === 'Status' ? said : null;
  if (status === null)
    return { ...apiError(kindOf(code, ''), WITHOUT.get(code) ?? `status ${code}`, code), retryAfterMs: retryAfter(header) };
  const details = asRecord(status['details']);
  const reason = reasonOf(status, details);
  const message = typeof status['message'] === 'string' && status['message'] !== '' ? status['message'] : `status ${code}`;
  return {
    kind: kindOf(code, reason),
    status: code,
    message: cleanMessage(message),
    reason,
    retryAfterMs: retryAfter(header) ?? retryAfter(details?.['retryAfterSeconds']),
  };
};

/** The object of an ERROR event. */
export const eventError = (object: unknown): ApiError => {
  const code = asRecord(object)?.['code'];
  return statusError(typeof code === 'number' && Number.isInteger(code) && code >= 400 && code < 600 ? code : 500, object);
};
