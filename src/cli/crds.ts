import { EXIT, readArguments, usageFault, type Command } from './command.ts';
import { crdText } from './generate/crds.ts';

export const crds: Command = {
  name: 'crds',
  summary: 'Print the CustomResourceDefinitions.',
  usage: 'spooky crds',
  options: [],
  details: 'Apply them with: spooky crds | kubectl apply --server-side -f -',
  run(args, io) {
    const read = readArguments(crds, args, io);
    if (read.arguments === null) return Promise.resolve(read.exit);
    if (read.arguments.positional.length > 0) return Promise.resolve(usageFault(crds, 'takes no arguments', io));
    io.stdout(crdText());
    return Promise.resolve(EXIT.ok);
  },
};
