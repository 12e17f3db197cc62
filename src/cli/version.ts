import { EXIT, readArguments, usageFault, type Command } from './command.ts';
import { packageVersion } from './package.ts';

export const version: Command = {
  name: 'version',
  summary: 'The versions of Spooky and of what it runs on.',
  usage: 'spooky version [--output text|json]',
  options: [{ flag: '--output', value: 'text|json', help: 'The form of the output.', default: 'text' }],
  run(args, io) {
    const read = readArguments(version, args, io);
    if (read.arguments === null) return Promise.resolve(read.exit);
    const output = read.arguments.value('--output') ?? 'text';
    if (output !== 'text' && output !== 'json') return Promise.resolve(usageFault(version, '--output must be text or json', io));
    if (read.arguments.positional.length > 0) return Promise.resolve(usageFault(version, 'takes no arguments', io));
    const facts = { version: packageVersion(), node: process.versions.node, platform: `${process.platform}-${process.arch}` };
    io.stdout(output === 'json' ? `${JSON.stringify(facts)}\n` : `spooky ${facts.version} (node ${facts.node}, ${facts.platform})\n`);
    return Promise.resolve(EXIT.ok);
  },
};
