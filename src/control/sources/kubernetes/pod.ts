/** Credentials of a pod: its service account's files, which the kubelet renews in place. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../lib/clock.ts';
import { identityOf, REREAD_MS, type Access, type Credentials, type CredentialsLog, type TlsMaterial } from './access.ts';
import { messageOf } from './answers.ts';

const MAX_TOKEN = 64 * 1024;

export class PodCredentials implements Credentials {
  readonly inCluster = true;
  namespace = 'default';
  private readonly server: URL;
  private readonly folder: string;
  private readonly clock: Clock;
  private readonly log: CredentialsLog | null;
  private token = '';
  private ca: Buffer | null = null;
  private now: Access | null = null;
  private readAt = 0;
  private reading: Promise<void> | null = null;
  private readonly failing = new Set<string>();

  constructor(server: URL, folder: string, clock: Clock, log: CredentialsLog | null) {
    this.server = server;
    this.folder = folder;
    this.clock = clock;
    this.log = log;
  }

  /** The first time everything must be there. Null: it is. */
  async load(): Promise<string | null> {
    const faults = [await this.readToken(), await this.readCa()].filter((fault) => fault !== null);
    if (faults.length > 0) return `the service account cannot be used: ${faults.join('; ')}`;
    const namespace = await readFile(join(this.folder, 'namespace'), 'utf8').catch(() => '');
    if (namespace.trim() !== '') this.namespace = namespace.trim();
    this.readAt = this.clock.now();
    this.compose();
    return null;
  }

  async access(): Promise<Access> {
    if (this.clock.now() - this.readAt >= REREAD_MS) await this.renew();
    return this.now as Access;
  }

  renew(): Promise<void> {
    this.reading ??= this.reread().finally(() => {
      this.reading = null;
    });
    return this.reading;
  }

  private async reread(): Promise<void> {
    this.readAt = this.clock.now();
    // The kubelet swaps a link: for a moment a file may be missing, or half of a pair.
    this.report('token', await this.readToken());
    this.report('ca.crt', await this.readCa());
    this.compose();
  }

  private report(file: string, fault: string | null): void {
    if (fault === null) this.failing.delete(file);
    else if (!this.failing.has(file)) {
      this.failing.add(file);
      this.log?.warn('the service account cannot be read again: the last state stays', { error: fault });
    }
  }

  private compose(): void {
    const tls: TlsMaterial = { ca: this.ca as Buffer };
    this.now = { server: this.server, headers: { authorization: `Bearer ${this.token}` }, tls, identity: identityOf(this.server, tls) };
  }

  private async readToken(): Promise<string | null> {
    const path = join(this.folder, 'token');
    try {
      const token = (await readFile(path, 'utf8')).trim();
      // RFC 6750 s2.1; anything else would be a header of its own.
      if (token.length > MAX_TOKEN || !/^[\x21-\x7e]+$/.test(token)) return `${path} has no token`;
      this.token = token;
      return null;
    } catch (e) {
      return `${path}: ${messageOf(e)}`;
    }
  }

  private async readCa(): Promise<string | null> {
    const path = join(this.folder, 'ca.crt');
    try {
      const ca = await readFile(path);
      if (!ca.includes('-----BEGIN CERTIFICATE-----')) return `${path} has no certificate`;
      // TLS contexts pass over what they cannot read, and would trust nobody.
      void new X509Certificate(ca);
      this.ca = ca;
      return null;
    } catch (e) {
      return `${path}: ${messageOf(e)}`;
    }
  }
}
