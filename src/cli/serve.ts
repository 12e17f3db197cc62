/** `spooky serve`: settings, logs, source, servers and signals around the service. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readServeSettings, type SettingProblem } from '../settings.ts';
import { CLUSTER_SETTINGS, SETTINGS, type SettingsDocument } from '../contract/resources/index.ts';
import { EXIT, readArguments, usageFault, type Arguments, type Command, type CommandIo, type CommandOption } from './command.ts';
import { filesMode } from './serve/standalone.ts';
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
  ...[...SETTINGS, ...CLUSTER_SETTINGS].map((s) => ({
    flag: s.flag,
    ...(s.value === '' ? {} : { value: s.value }),
    help: `${s.help} [${s.env}]`,
    default: s.defaultText,
  })),
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
  summary: 'Serve what a configuration says: files, or the objects of a cluster.',
  usage: 'spooky serve --config FILE|DIR [FLAGS]\n       spooky serve --kubernetes [FLAGS]',
  options,
  details: [
    'A flag wins over its environment variable, which is in brackets, that over a document of kind Settings, that over the default.',
    'With --kubernetes POD_NAME and POD_NAMESPACE say who and where this process is (the chart sets them), HOST_IPS and POD_IPS which addresses no backend may have, POD_ZONE the zone whose endpoints are preferred where a Service asks for that.',
    'TERM and INT drain and exit 0, a second one exits at once; HUP reads the configuration again; USR1 does nothing.',
    'With --takeover two processes share the UDP ports while one takes over from the other: connections that are open stay with the old process, which drains and exits 0, new ones are the new process’s; metrics, admin API and SOCKET move over. Until the new one serves nothing changes for the old one. They have to run as the same user.',
    'In the environment alone: NOTIFY_SOCKET, by which systemd is told that this process is ready (Type=notify); SPOOKY_NATIVE=FILE, another native engine than native/spooky-quic.node; for debugging, SPOOKY_KEYLOG=FILE (TLS secrets are appended to it: whoever reads it can decrypt all traffic) and SPOOKY_QLOG=FOLDER (a log of every packet).',
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
    const common = { settings: first.value, settingsWith, io, newKey: () => randomBytes(32) };
    if (first.value.cluster !== null) {
      if (given.has('--config')) return usageFault(serve, '--config and --kubernetes exclude each other', io);
      const { clusterMode } = await import('./serve/cluster.ts');
      const mode = await clusterMode(first.value, first.value.cluster, io);
      if (mode.ok) return runServe({ ...common, mode: mode.value });
      io.stderr(`spooky serve: ${mode.error}\n`);
      return EXIT.invalid;
    }
    const config = given.value('--config') ?? io.env['SPOOKY_CONFIG'] ?? (existsSync(DEFAULT_CONFIG) ? DEFAULT_CONFIG : null);
    if (config === null) return usageFault(serve, '--config is missing (or --kubernetes, in a cluster)', io);
    // A variable of somebody's script that is not set: the working directory is hardly meant.
    if (config === '')
      return usageFault(
        serve,
        `${given.has('--config') ? '--config' : 'SPOOKY_CONFIG'} must be the path of a file or a folder, not empty`,
        io,
      );
    return runServe({ ...common, mode: filesMode(config, io.cwd) });
  },
};
