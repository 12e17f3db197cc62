import { chooseEngine, engineEnvironment } from '../edge/quic/index.ts';
import { EXIT, readArguments, usageFault, type Command, type CommandIo } from './command.ts';
import { packageVersion } from './package.ts';

export const version: Command = {
  name: 'version',
  summary: 'The versions of Spooky and of what it runs on.',
  usage: 'spooky version [--output text|json]',
  options: [{ flag: '--output', value: 'text|json', help: 'The form of the output.', default: 'text' }],
  async run(args, io) {
    const read = readArguments(version, args, io);
    if (read.arguments === null) return read.exit;
    const output = read.arguments.value('--output') ?? 'text';
    if (output !== 'text' && output !== 'json') return usageFault(version, '--output must be text or json', io);
    if (read.arguments.positional.length > 0) return usageFault(version, 'takes no arguments', io);
    const facts = {
      version: packageVersion(),
      node: process.versions.node,
      platform: `${process.platform}-${process.arch}`,
      ...(await engineFacts(io)),
    };
    io.stdout(output === 'json' ? `${JSON.stringify(facts)}\n` : textOf(facts));
    return EXIT.ok;
  },
};

interface EngineFacts {
  /** What `--engine auto` takes here; empty when there is none. */
  readonly engine: string;
  readonly engineVersion: string;
  /** Why it is not the preferred one; empty when it is. */
  readonly engineWhy: string;
}

const engineFacts = async (io: CommandIo): Promise<EngineFacts> => {
  try {
    const { engine, why } = await chooseEngine('auto', { addon: engineEnvironment(io.env).addon });
    return { engine: engine.name, engineVersion: engine.version, engineWhy: why };
  } catch (e) {
    return { engine: '', engineVersion: '', engineWhy: e instanceof Error ? e.message : String(e) };
  }
};

const textOf = (facts: EngineFacts & { version: string; node: string; platform: string }): string => {
  const engine = facts.engine === '' ? 'no QUIC engine' : `engine ${facts.engine} on quiche ${facts.engineVersion}`;
  const first = `spooky ${facts.version} (node ${facts.node}, ${facts.platform}, ${engine})\n`;
  return facts.engineWhy === '' ? first : `${first}${facts.engineWhy}\n`;
};
