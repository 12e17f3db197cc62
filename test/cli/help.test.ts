import { describe, expect, test } from '@jest/globals';
import { CLUSTER_SETTINGS, SETTINGS } from '../../src/contract/resources/index.ts';
import type { CommandIo } from '../../src/cli/command.ts';
import { COMMAND_NAMES, help, loadCommand, loadCommands } from '../../src/cli/commands.ts';
import { commandLinePage } from '../../src/cli/generate/commandline.ts';
import { metricsPage, reasonsPage } from '../../src/cli/generate/metrics.ts';
import { METRIC_NAMES } from '../../src/control/admin/metrics.ts';
import { REASON_NAMES } from '../../src/contract/reasons.ts';

const record = () => {
  const said = { out: '', err: '' };
  const io: CommandIo = { stdout: (t) => void (said.out += t), stderr: (t) => void (said.err += t), env: {}, cwd: '/' };
  return { said, io };
};

test('the commands are those of the documentation, each by its own name', async () => {
  expect(COMMAND_NAMES).toEqual(['serve', 'check', 'explain', 'probe', 'demo', 'crds', 'version', 'help']);
  expect((await loadCommands()).map((c) => c.name)).toEqual(COMMAND_NAMES);
  for (const name of ['__proto__', 'constructor', 'toString']) expect(await loadCommand(name)).toBeNull();
});

test('help lists every command', async () => {
  const { said, io } = record();
  expect(await help.run([], io)).toBe(0);
  for (const name of COMMAND_NAMES) expect(said.out).toMatch(new RegExp(`^  ${name} +\\S`, 'm'));
});

test('help of an unknown command is a usage error', async () => {
  const { said, io } = record();
  expect(await help.run(['prob'], io)).toBe(2);
  expect(said.err).toContain('did you mean probe?');
});

describe.each(['serve', 'check', 'explain', 'probe', 'demo', 'crds', 'version', 'help'])('%s', (name) => {
  test('--help and help COMMAND say the same, with every flag and its default', async () => {
    const command = await loadCommand(name);
    const [a, b] = [record(), record()];
    expect(await command?.run(['--help'], a.io)).toBe(0);
    expect(await help.run([name], b.io)).toBe(0);
    expect(a.said.out).toBe(b.said.out);
    for (const option of command?.options ?? []) {
      expect(a.said.out).toContain(option.flag);
      if (option.default !== undefined) expect(a.said.out).toContain(`(default: ${option.default})`);
    }
  });

  test('an unknown flag is a usage error', async () => {
    const { said, io } = record();
    expect(await (await loadCommand(name))?.run(['--no-such-flag'], io)).toBe(2);
    expect(said.err).toContain('--no-such-flag');
  });
});

test('serve --help shows every setting with default and environment', async () => {
  const { said, io } = record();
  await (await loadCommand('serve'))?.run(['--help'], io);
  for (const s of SETTINGS) {
    expect(said.out).toContain(`${s.flag} ${s.value}`);
    expect(said.out).toContain(`[${s.env}] (default: ${s.defaultText})`);
  }
  for (const s of CLUSTER_SETTINGS) {
    expect(said.out).toContain(s.value === '' ? s.flag : `${s.flag} ${s.value}`);
    expect(said.out).toContain(`[${s.env}] (default: ${s.defaultText})`);
  }
});

describe('the reference pages', () => {
  test('have every flag, metric and reason', async () => {
    const commandLine = commandLinePage(await loadCommands());
    for (const s of SETTINGS) expect(commandLine).toContain(`\`${s.env}\` | \`${s.name}\``);
    for (const name of METRIC_NAMES) expect(metricsPage()).toContain(`| \`spooky_${name}\` |`);
    for (const name of REASON_NAMES) expect(reasonsPage()).toContain(`| \`${name}\` |`);
  });

  test('tables have the same number of cells in every row', async () => {
    for (const page of [commandLinePage(await loadCommands()), metricsPage(), reasonsPage()]) {
      const rows = page.split('\n').map((line) => (line.startsWith('|') ? line.replaceAll('\\|', '').split('|').length : 0));
      for (let i = 1; i < rows.length; i++) if (rows[i] !== 0 && rows[i - 1] !== 0) expect(rows[i]).toBe(rows[i - 1]);
    }
  });
});
