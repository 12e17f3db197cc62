/** Fields that both kinds use. */
import { duration, list, object, oneOf, rule, standaloneOnly, text, type Rule } from './fields.ts';
import { isCidr, isAddress, matchesPattern } from './names.ts';

export const objectName = (help: string) =>
  text(help, { max: 253, pattern: 'objectName', what: 'an object name: lower-case letters, digits, "-" and "."', format: 'name' });

export const namespaceName = (help: string) =>
  text(help, { max: 63, pattern: 'namespace', what: 'a namespace: lower-case letters, digits and "-"', format: 'namespace' });

export const hostname = (help: string) =>
  text(help, {
    max: 253,
    pattern: 'hostname',
    what: 'a host name like api.example.com, *.example.com or * (international names in their xn-- form, no port)',
    format: 'hostname',
    rules: [labelsFit],
  });

export const exactHostname = (help: string) =>
  text(help, {
    max: 253,
    pattern: 'exactHostname',
    what: 'a host name without a wildcard or a port',
    format: 'hostname',
    rules: [labelsFit],
  });

/** The pattern bounds labels already; `1.2.3.999` is a name to it, and nobody's address. */
const labelsFit = rule<string>(
  'must not be a malformed address',
  `!self.matches('^[0-9.]+$') || isIP(self)`,
  (v) => !/^[0-9.]+$/.test(v) || isAddress(v),
);

export const address = (help: string) =>
  text(help, {
    max: 45,
    what: 'an IP address',
    format: 'IP address',
    rules: [rule<string>('must be an IP address', 'isIP(self)', isAddress)],
  });

export const cidr = (help: string) =>
  text(help, {
    max: 49,
    what: 'a network like 198.51.100.0/24',
    format: 'CIDR',
    rules: [rule<string>('must be a network like 198.51.100.0/24 or 2001:db8::/32', 'isCIDR(self)', isCidr)],
  });

export const urlPath = (help: string) =>
  text(help, { max: 1024, what: 'a path that begins with "/"', format: 'path', rules: pathRules('self') });

const DOTS = '(^|/)[.][.]?(/|$)';

/** A path that a normalised request can have. */
export function pathRules(self: string): Rule[] {
  return [
    rule<string>('must be a path that begins with "/", of printable ASCII without "?" and "#"', `${self}.matches('^/[!-"$->@-~]*$')`, (v) =>
      matchesPattern('path', v),
    ),
    rule<string>(
      'must not have "." or ".." segments: requests are normalised before they are matched',
      `!${self}.matches('${DOTS}')`,
      (v) => !new RegExp(DOTS).test(v),
    ),
    rule<string>(
      'must have two hexadecimal digits after each "%"',
      `!${self}.matches('%([^0-9A-Fa-f]|.[^0-9A-Fa-f]|.?$)')`,
      (v) => !/%(?![0-9A-Fa-f]{2})/.test(v),
    ),
  ];
}

const filePath = (help: string) => text(help, { max: 4096, what: 'a path of a file', format: 'file' });

export const certificateFiles = () =>
  standaloneOnly(
    object('Files in PEM instead of a Secret; relative to the document.', {
      cert: filePath('The certificate chain, leaf first.'),
      key: filePath('The private key.'),
    }),
  );

export const caFiles = () =>
  standaloneOnly(
    object('Files in PEM instead of an object; relative to the document.', {
      ca: filePath('A bundle of certificates, or a directory whose files make one bundle.'),
    }),
  );

interface Refs {
  name?: unknown;
  files?: unknown;
}

/** In a cluster `name` is required, so that only files need the rule. */
export const nameOrFiles = rule<Refs>(
  'must have exactly one of name and files',
  '',
  (v) => (v.name === undefined) !== (v.files === undefined),
);

const labelText = (help: string) => text(help, { max: 63, min: 0, pattern: 'labelValue', what: 'a label value' });

export { duration, list, object, oneOf, labelText };
