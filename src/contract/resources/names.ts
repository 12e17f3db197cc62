/** The grammar of names and addresses. Each pattern is RE2-safe, since the CRDs carry the same text; each test is on bytes of ASCII. */
import { isIP } from 'node:net';

const LABEL = '[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?';
const LOWER_LABEL = '[a-z0-9]([a-z0-9-]*[a-z0-9])?';
const TOKEN = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";

export const PATTERNS = {
  /** An object of Kubernetes: RFC 1123 subdomain. */
  objectName: `^${LOWER_LABEL}(\\.${LOWER_LABEL})*$`,
  namespace: `^${LOWER_LABEL}$`,
  /** Names of ours that become labels of metrics. */
  label: '^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$',
  hostname: `^(\\*|(\\*\\.)?${LABEL}(\\.${LABEL})*\\.?)$`,
  exactHostname: `^${LABEL}(\\.${LABEL})*\\.?$`,
  method: `^${TOKEN}$`,
  /** No underscore: such fields are dropped at the edge, so that a match on one could never hold. */
  headerName: "^[a-z0-9!#$%&'*+.^`|~-]+$",
  cookieName: `^${TOKEN}$`,
  /** Printable ASCII without what ends a path. */
  path: '^/[!-"$->@-~]*$',
  portName: `^${LOWER_LABEL}$`,
  labelKey: '^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$',
  labelValue: '^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$',
} as const;

export type PatternName = keyof typeof PATTERNS;

const compiled = new Map(Object.entries(PATTERNS).map(([name, text]) => [name, new RegExp(text)]));

export const matchesPattern = (name: PatternName, text: string): boolean => (compiled.get(name) as RegExp).test(text);

export const isAddress = (text: string): boolean => isIP(text) !== 0 && !text.includes('%');

/** `192.0.2.0/24`, `2001:db8::/32`; host bits may be set, a bare address is none. */
export function isCidr(text: string): boolean {
  const slash = text.indexOf('/');
  if (slash < 0) return false;
  const family = isIP(text.slice(0, slash));
  const bits = text.slice(slash + 1);
  return family !== 0 && !text.includes('%') && /^(?:0|[1-9][0-9]{0,2})$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128);
}
