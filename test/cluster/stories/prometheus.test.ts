/** A real Prometheus finds the pods in each of the ways that the chart offers, reads them, and judges by the alerts of the manifests and documents. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeCertificate } from '../../kit/x509.ts';
import { addKinds, MONITORS, removeKinds } from '../foreign.ts';
import {
  api,
  apply,
  clean,
  eventually,
  HOST,
  install,
  kubectl,
  MANIFESTS,
  pods,
  quickstart,
  sample,
  scrape,
  startLoad,
  tlsSecret,
  total,
} from './kit.ts';
import { byAnnotations, byPodMonitor, prometheusMissing, sampleFiles, startPrometheus, type Job, type Prometheus } from './prometheus.ts';

const DAY_MS = 86_400_000;
const missing = prometheusMissing();
if (missing !== null) process.stderr.write(`SKIPPED: the story of Prometheus: ${missing}\n`);

/** The rules of docs/operate/metrics.md: its YAML blocks that are groups. */
const documented = (): Record<string, string> =>
  Object.fromEntries(
    [...readFileSync(join(MANIFESTS, '../docs/operate/metrics.md'), 'utf8').matchAll(/^```yaml\n(groups:\n[\s\S]*?)^```$/gm)].map(
      ([, text = ''], i) => [`documented-${i}.yml`, text],
    ),
  );

(missing === null ? describe : describe.skip)('Prometheus', () => {
  let prometheus: Prometheus;
  /** As the sample has it: one job alone, which the alerts are written for. */
  let alerting: Prometheus;
  let jobs: readonly Job[];

  beforeAll(async () => {
    await clean('monitoring');
    await addKinds(api, MONITORS);
    await install({ metrics: { annotations: true } });
    await quickstart();
    // Its rights are those of the sample; the process itself runs outside, where its image is not needed.
    const documents = sample('prometheus').split(/^---$/m);
    await apply(documents.filter((text) => !text.includes('kind: Deployment')).join('---'));
    // The chart made it by itself, since the cluster has the kind. Discovery by annotations looks at every namespace.
    jobs = [...sampleFiles().configuration.scrape_configs, byAnnotations, await byPodMonitor('spooky')];
    await kubectl(['create', 'clusterrole', 'spooky-test-pods', '--verb=get,list,watch', '--resource=pods']);
    await kubectl(['create', 'clusterrolebinding', 'spooky-test-pods', '--clusterrole=spooky-test-pods', '--serviceaccount=monitoring:prometheus']); // prettier-ignore
    prometheus = await startPrometheus(jobs);
    alerting = await startPrometheus(jobs.slice(0, 1), { 'sample.yml': sampleFiles().rules, ...documented() });
  }, 400_000);
  afterAll(async () => {
    await Promise.all([prometheus?.child.stop(), alerting?.child.stop()]);
    await kubectl(['delete', 'clusterrole,clusterrolebinding', 'spooky-test-pods', '--ignore-not-found']);
    await clean('monitoring');
    await removeKinds(api, MONITORS);
  }, 240_000);

  test('every way of discovery finds each pod once, and reads it', async () => {
    const wanted = (await pods()).map(({ ip }) => `${ip}:9901`).sort();
    await eventually(async () => {
      const targets = await prometheus.targets();
      expect(targets.filter(({ health }) => health !== 'up')).toEqual([]);
      for (const { job_name } of jobs) {
        const found = targets.filter(({ scrapePool }) => scrapePool === job_name).map(({ labels }) => labels['instance']);
        expect({ job_name, found: found.sort() }).toEqual({ job_name, found: wanted });
      }
    }, 60_000, 500); // prettier-ignore
  }, 90_000);

  test('requests are counted: in every job what the pods themselves say', async () => {
    const load = await startLoad();
    await load.more(200);
    await eventually(async () => {
      const rates = await prometheus.query('sum by (job) (rate(spooky_requests_total[15s]))');
      expect(rates.map(({ metric }) => metric['job']).sort()).toEqual(jobs.map(({ job_name }) => job_name).sort());
      for (const { value } of rates) expect(value).toBeGreaterThan(1);
    }, 60_000, 500); // prettier-ignore
    const { ok } = await load.stop();
    const own = (await Promise.all((await pods()).map(({ ip }) => scrape(ip)))).flat();
    const count = total(own, 'spooky_requests_total', { code: '200' });
    expect(count).toBeGreaterThanOrEqual(ok);
    await eventually(async () => {
      const sums = await prometheus.query('sum by (job) (spooky_requests_total{code="200"})');
      expect(sums.map(({ value }) => value)).toEqual(jobs.map(() => count));
    }, 30_000, 500); // prettier-ignore
  }, 180_000);

  test('every alert of the manifests and of the documents is evaluated, and none fires where nothing is wrong', async () => {
    await eventually(async () => {
      const rules = await alerting.rules();
      expect(rules.filter(({ health }) => health !== 'ok').map(({ name, health, lastError }) => ({ name, health, lastError }))).toEqual([]);
    }, 30_000, 500); // prettier-ignore
    const rules = await alerting.rules();
    expect(rules.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['SpookyDown', 'SpookyErrors', 'SpookyCertificateExpires', 'SpookyNoLeader']),
    );
    expect(rules.filter(({ state }) => state !== 'inactive').map(({ name, alerts }) => ({ name, alerts }))).toEqual([]);
  }, 60_000);

  test('a certificate that expires within a week fires its alert, and names itself', async () => {
    await apply([tlsSecret('demo-tls', makeCertificate({ names: [`DNS:${HOST}`], notAfter: Date.now() + 3 * DAY_MS }))]);
    await eventually(async () => {
      const firing = (await alerting.rules()).filter(({ name, state }) => name === 'SpookyCertificateExpires' && state === 'firing');
      // In the manifests, and in the documents.
      expect(firing.length).toBe(2);
      expect(firing[0]?.alerts[0]?.annotations['summary']).toContain('demo-tls');
    }, 60_000, 500); // prettier-ignore
  }, 90_000);
});
