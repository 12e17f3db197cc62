import { createHash, createHmac, hkdfSync } from 'node:crypto';

/** Every key of the edge is derived from the one installation key, so that all nodes, workers and restarts agree. */
export const INSTALLATION_KEY_MIN = 32;
const TICKET_KEY_LENGTH = 48;
const TOKEN_KEY_LENGTH = 32;

/** What a TLS policy is, as far as a session ticket must never cross it. */
export interface TicketPolicy {
  /** Names the certificate group: its object, or a hash of its names. */
  readonly group: string;
  readonly clientAuth: 'none' | 'request' | 'require';
  readonly ca: Uint8Array | null;
  readonly earlyData: boolean;
}

/** AES-128, for connection ids. */
export function deriveCidKey(installation: Uint8Array): Uint8Array {
  return expand(installation, 'connection-id', 16);
}

/**
 * HMAC-SHA256, for the stateless reset tokens of connections at a UDP port. Of that port alone: whoever knows a connection's id would otherwise
 * get its token from another port, where nobody knows the connection, while it lives (RFC 9000 s21.11).
 */
export function deriveResetKey(installation: Uint8Array, port: number): Uint8Array {
  return expand(installation, `stateless-reset ${port}`, 32);
}

/**
 * Keys of address tokens for a period (any counter that moves on slowly, such as the hour). The first seals; all open,
 * also those of the neighbouring periods, so that rotation drops nobody and clocks may disagree a little.
 */
export function deriveTokenKeys(installation: Uint8Array, period: number): Uint8Array[] {
  return [period, period - 1, period + 1].map((p) => expand(installation, `token ${p}`, TOKEN_KEY_LENGTH));
}

/** Session ticket keys of one TLS policy for a period: the first seals, the older one still opens. */
export function deriveTicketKeys(installation: Uint8Array, policy: TicketPolicy, period: number): Uint8Array[] {
  const h = createHash('sha256');
  for (const part of [policy.group, policy.clientAuth, policy.earlyData ? 'early' : 'no-early']) {
    h.update(`${Buffer.byteLength(part)}:`);
    h.update(part);
  }
  h.update(policy.ca === null ? 'no-ca' : createHash('sha256').update(policy.ca).digest());
  const name = h.digest('hex');
  return [period, period - 1].map((p) => expand(installation, `ticket ${name} ${p}`, TICKET_KEY_LENGTH));
}

/** `spooky-XXXXXXXX`: what this installation calls itself in `via`, so that it knows its own loops and nobody can guess it. */
export function derivePseudonym(installation: Uint8Array): string {
  return `spooky-${createHmac('sha256', checked(installation)).update('via').digest('hex').slice(0, 8)}`;
}

function expand(installation: Uint8Array, purpose: string, length: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', checked(installation), 'spooky edge 1', purpose, length));
}

function checked(installation: Uint8Array): Uint8Array {
  if (installation.length < INSTALLATION_KEY_MIN)
    throw new RangeError(`the installation key has ${installation.length} bytes, at least ${INSTALLATION_KEY_MIN} wanted`);
  return installation;
}
