/** The mode of a cluster, as far as it can be seen without workers. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { clusterMode } from '../../../src/cli/serve/cluster.ts';
import { Families } from '../../../src/control/admin/families.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { createLog } from '../../../src/lib/log.ts';
import { readServeSettings } from '../../../src/settings.ts';
import { startApiServer } from '../../kit/apiserver/index.ts';
import { eventually } from '../../kit/process.ts';
import { temporaryFolder } from '../../kit/spooky.ts';

test('what credentials have to say once everything runs is logged', async () => {
  const fake = await startApiServer();
  const kubeconfig = join(temporaryFolder(), 'kubeconfig');
  const of = (token: string): string => `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "${fake.url}", certificate-authority-data: ${Buffer.from(fake.ca).toString('base64')}}}]
users: [{name: u, user: {token: ${token}}}]
contexts: [{name: c, context: {cluster: c, user: u, namespace: edge}}]
current-context: c
`;
  writeFileSync(kubeconfig, of('wrong'));
  const read = readServeSettings({
    flags: new Map([
      ['--kubernetes', ''],
      ['--kubeconfig', kubeconfig],
      ['--role', 'edge'],
    ]),
    env: {},
    document: null,
  });
  if (!read.ok || read.value.cluster === null) throw new Error('settings');
  const made = await clusterMode(read.value, read.value.cluster, { stdout: () => {}, stderr: () => {}, env: {}, cwd: '/' });
  if (!made.ok) throw new Error(made.error);
  writeFileSync(kubeconfig, 'no kubeconfig any more');
  const lines: string[] = [];
  const log = createLog({ level: 'warn', format: 'json', write: (line) => lines.push(line), wall: () => 0 });
  const feed = made.value.open({ clock: systemClock, log, families: new Families(), defect: (_, e) => lines.push(String(e)) });
  void feed.start(() => {});
  try {
    await eventually(async () => {
      await Promise.resolve();
      expect(lines.some((line) => line.includes('the kubeconfig cannot be read again'))).toBe(true);
    });
    expect(feed.pending().some((why) => why.includes('unauthorized'))).toBe(true);
  } finally {
    await feed.stop();
    await fake.stop();
  }
});
