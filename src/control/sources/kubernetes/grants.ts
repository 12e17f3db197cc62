/** Whether there are ReferenceGrants at all: the Gateway API may be installed, upgraded and taken away while we run. */
import type { Clock } from '../../../lib/clock.ts';
import type { Log } from '../../../lib/log.ts';
import type { KubeApi, ResourceKind } from './api.ts';
import { GRANT_GROUP, GRANT_VERSIONS, grantsOf } from './kinds.ts';
import { fieldsOf, mapsOf } from './meta.ts';

const AGAIN_MS = 30_000;
/** Without an answer it is not known whether references may be followed: asked again soon. */
const RETRY_MS = 1000;
/** Right after its start a server does not know the kinds of CRDs for seconds: gone is what was missing this often in a row. */
const MISSING_TIMES = 2;

export interface GrantDiscoveryOptions {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** There are grants, at this version from now on. */
  readonly onFound: (kind: ResourceKind) => void;
  readonly onGone: () => void;
  /** The first answer is in. */
  readonly onSettled: () => void;
}

type GrantFinding =
  { readonly is: 'found'; readonly version: string } | { readonly is: 'missing' } | { readonly is: 'unknown'; readonly why: string };

/** The newest version that the server has. What may not be looked for is not there. */
export async function findGrants(api: KubeApi): Promise<GrantFinding> {
  for (const version of GRANT_VERSIONS) {
    const answer = await api.request({ method: 'GET', path: `/apis/${GRANT_GROUP}/${version}` });
    if (answer.ok) {
      const { plural } = grantsOf(version);
      if (mapsOf(fieldsOf(answer.body)['resources'], 1000).some((r) => r['name'] === plural)) return { is: 'found', version };
    } else if (answer.error.kind !== 'not_found' && answer.error.kind !== 'forbidden') return { is: 'unknown', why: answer.error.message };
  }
  return { is: 'missing' };
}

export class GrantDiscovery {
  /** Why it is not known yet whether there are any; null when it is. */
  problem: string | null = 'ReferenceGrants are not looked for yet';
  private readonly o: GrantDiscoveryOptions;
  private version: string | null = null;
  private missing = 0;
  private cancel: (() => void) | null = null;
  private stopped = false;

  constructor(o: GrantDiscoveryOptions) {
    this.o = o;
  }

  start(): void {
    void this.look();
  }

  stop(): void {
    this.stopped = true;
    this.cancel?.();
  }

  private async look(): Promise<void> {
    let finding: GrantFinding;
    try {
      finding = await findGrants(this.o.api);
      if (!this.stopped) this.take(finding);
    } catch (e) {
      finding = { is: 'unknown', why: 'an internal error' };
      this.o.log.error('internal error', { where: 'grants', error: e });
    }
    if (this.stopped) return;
    const ms = finding.is === 'unknown' && this.problem !== null ? RETRY_MS : AGAIN_MS;
    this.cancel = this.o.clock.after(ms * (0.9 + 0.2 * this.o.random()), () => void this.look());
  }

  private take(finding: GrantFinding): void {
    if (finding.is === 'unknown') {
      if (this.problem !== null) this.problem = `it is not known whether there are ReferenceGrants: ${finding.why}`;
      return;
    }
    const first = this.problem !== null;
    this.problem = null;
    if (finding.is === 'found') this.found(finding.version);
    else if (this.version !== null && ++this.missing >= MISSING_TIMES) this.gone();
    if (first) this.o.onSettled();
  }

  private found(version: string): void {
    this.missing = 0;
    if (version === this.version) return;
    this.version = version;
    this.o.log.info('references across namespaces are open where a ReferenceGrant says so', { group: GRANT_GROUP, version });
    this.o.onFound(grantsOf(version));
  }

  private gone(): void {
    this.version = null;
    this.missing = 0;
    this.o.log.info('there are no ReferenceGrants any more: no reference crosses namespaces', { group: GRANT_GROUP });
    this.o.onGone();
  }
}
