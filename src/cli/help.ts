import { closest } from '../lib/closest.ts';
import { EXIT, helpText, readArguments, usageFault, type Command, type CommandIo } from './command.ts';

const overview = (commands: readonly Command[]): string => {
  const width = Math.max(...commands.map((c) => c.name.length));
  return [
    'spooky: an HTTP/3 ingress controller for Kubernetes, and an HTTP/3 edge of its own; HTTP/2 to the backends',
    '',
    'usage: spooky COMMAND [ARGUMENTS]',
    '       spooky --config FILE          the same as spooky serve --config FILE',
    '',
    'commands:',
    ...commands.map((c) => `  ${c.name.padEnd(width)}  ${c.summary}`),
    '',
    'spooky help COMMAND, or spooky COMMAND --help, shows its flags with their defaults.',
    'exit codes: 0; 1 configuration invalid; 2 usage; 3 an address cannot be bound; 4 engine unavailable; 5 workers cannot start, or a defect',
    '',
  ].join('\n');
};

/** Needs the list that it is part of. */
export const helpCommand = (commands: () => Promise<readonly Command[]>): Command => {
  const help: Command = {
    name: 'help',
    summary: 'This overview, or the flags of a command.',
    usage: 'spooky help [COMMAND]',
    options: [],
    async run(args, io) {
      const read = readArguments(help, args, io);
      if (read.arguments === null) return read.exit;
      const [name, ...more] = read.arguments.positional;
      if (more.length > 0) return usageFault(help, 'takes one command', io);
      const known = await commands();
      if (name === undefined) {
        io.stdout(overview(known));
        return EXIT.ok;
      }
      const found = known.find((c) => c.name === name);
      if (found === undefined)
        return unknownCommand(
          name,
          known.map((c) => c.name),
          io,
        );
      io.stdout(helpText(found));
      return EXIT.ok;
    },
  };
  return help;
};

export const unknownCommand = (name: string, names: readonly string[], io: Pick<CommandIo, 'stderr'>): number => {
  const meant = closest(name, names);
  io.stderr(`spooky: unknown command ${JSON.stringify(name)}${meant === null ? '' : ` (did you mean ${meant}?)`}; spooky help lists all\n`);
  return EXIT.usage;
};
