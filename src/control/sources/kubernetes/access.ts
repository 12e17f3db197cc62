/** What a request needs to be made and to be let in. */
import { createHash } from 'node:crypto';
import type { Log } from '../../../lib/log.ts';

export type CredentialsLog = Pick<Log, 'warn'>;

export interface TlsMaterial {
  readonly ca?: Buffer;
  readonly cert?: Buffer | string;
  readonly key?: Buffer | string;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

export interface Access {
  readonly server: URL;
  /** Authorization, impersonation. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: TlsMaterial;
  /** Another one means: connections that were made before are not to be used for new requests. */
  readonly identity: string;
}

export interface Credentials {
  readonly inCluster: boolean;
  /** Of the pod, or of the context; `default` when neither says. */
  readonly namespace: string;
  /** For the next request. Files are read again each minute; what cannot be read leaves the last good state. Never rejects. */
  access(): Promise<Access>;
  /** The server has refused us, or we it: everything is read again now. Never rejects. */
  renew(): Promise<void>;
}

/** As client-go does. */
export const REREAD_MS = 60_000;

export const identityOf = (server: URL, { ca, cert, key, servername, rejectUnauthorized }: TlsMaterial): string => {
  const hash = createHash('sha256');
  for (const part of [server.href, ca ?? '', cert ?? '', key ?? '', servername ?? '', String(rejectUnauthorized ?? '')])
    hash.update(part).update('\0');
  return hash.digest('base64url');
};
