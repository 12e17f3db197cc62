/** `spooky serve`: settings, logs, source, servers and signals around the service. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { LATER_FLAGS, readServeSettings, type SettingProblem } from '../settings.ts';
import { SETTINGS, type SettingsDocument } from '../contract/resources/index.ts';
import { EXIT, readArguments, usageFault, type Arguments, type Command, type CommandIo, type CommandOption } from './command.ts';
import { runServe } from './serve/run.ts';

/** Where Spooky's users have it. */
const DEFAULT_CONFIG = '/etc/spooky/config.yaml';

const CONFIG_OPTION: CommandOption = {
  flag: '--config',
  value: 'FILE|DIR',
  help: 'What to serve: documents in a file or folder, or a classic config.yaml. [SPOOKY_CONFIG]',
  default: `${DEFAULT_CONFIG}, when it exists`,
};

const options: readonly CommandOption[] = [
  CONFIG_OPTION,
  ...SETTINGS.map((s) => ({ flag: s.flag, value: s.value, help: `${s.help} [${s.env}]`, default: s.defaultText })),
  ...LATER_FLAGS.map((f) => ({ flag: f.flag, ...(f.value === '' ? {} : { value: f.value }), help: `${f.help} Not supported yet.` })),
];

/** Flags of the command line by name; switches have the empty text. */
const flagsOf = (given: Arguments): Map<string, string> =>
  new Map(options.flatMap((o) => (given.has(o.flag) ? [[o.flag, given.value(o.flag) ?? ''] as const] : [])));

const printProblems = (problems: readonly SettingProblem[], io: CommandIo): number => {
  for (const p of problems) io.stderr(`spooky serve: ${p.source}: ${p.message}\n`);
  io.stderr('spooky serve --help shows every flag\n');
  return EXIT.usage;
};

export const serve: Command = {
  name: 'serve',
  summary: 'Serve what a configuration says.',
  usage: 'spooky serve --config FILE|DIR [FLAGS]',
  options,
  details: [
    'A flag wins over its environment variable, which is in brackets, that over a document of kind Settings, that over the default.',
    'TERM and INT drain and exit 0, a second one exits at once; HUP reads the configuration again.',
    'In the environment alone: SPOOKY_NATIVE=FILE, another native engine than native/spooky-quic.node; for debugging, SPOOKY_KEYLOG=FILE (TLS secrets are appended to it: whoever reads it can decrypt all traffic) and SPOOKY_QLOG=FOLDER (a log of every packet).',
  ].join('\n'),
  async run(args, io) {
    const read = readArguments(serve, args, io);
    if (read.arguments === null) return read.exit;
    const given = read.arguments;
    if (given.positional.length > 0)
      return usageFault(serve, `unexpected ${JSON.stringify(given.positional[0])}: the configuration is given by --config`, io);
    const flags = flagsOf(given);
    const settingsWith = (document: SettingsDocument | null): ReturnType<typeof readServeSettings> =>
      readServeSettings({ flags, env: io.env, document });
    const first = settingsWith(null);
    if (!first.ok) return printProblems(first.error, io);
    const config = given.value('--config') ?? io.env['SPOOKY_CONFIG'] ?? (existsSync(DEFAULT_CONFIG) ? DEFAULT_CONFIG : null);
    if (config === null) return usageFault(serve, '--config is missing', io);
    return runServe({ config, settings: first.value, settingsWith, io, newKey: () => randomBytes(32) });
  },
};
