/** The reference page of the command line, from the commands' own tables. */
import { SETTINGS } from '../../contract/resources/index.ts';
import type { Command, CommandOption } from '../command.ts';

const escape = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('\n', ' ');
const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``;

const HEAD = `# The command line

<!-- Generated from the commands in src/cli and the table of settings: make generate -->

\`bin/spooky\` runs on the Node that Spooky pins. \`spooky help COMMAND\` shows what is below for one command.

| exit code | means |
|---|---|
| 0 | done; \`serve\`: drained |
| 1 | the configuration is invalid, a file or folder cannot be used, or a take-over failed: nothing was bound, or no longer is. \`check\`: there are problems |
| 2 | usage: an unknown flag, a value that does not fit |
| 3 | an address cannot be bound: which, and by whom it is held where that can be known |
| 4 | the QUIC engine is not available |
| 5 | nothing is wrong with what was given: workers end before they serve, or a defect. The log says why, and trying again may help |
`;

const DOCUMENT_NAMES = new Map(SETTINGS.map((s) => [s.flag, s]));

const flagText = (o: CommandOption): string => code(o.value === undefined ? o.flag : `${o.flag} ${o.value}`);

/** The environment's name stands in the help text, in brackets at its end. */
const helpOf = (o: CommandOption): string => escape(o.help.replace(/ \[SPOOKY_[A-Z_]+\]/, ''));

const plainTable = (options: readonly CommandOption[]): string => {
  const rows = options.map((o) => `| ${flagText(o)} | ${o.default === undefined ? '' : code(o.default)} | ${helpOf(o)} |`);
  return `| flag | default | |\n|---|---|---|\n${rows.join('\n')}\n`;
};

const serveTable = (options: readonly CommandOption[]): string => {
  const rows = options.map((o) => {
    const setting = DOCUMENT_NAMES.get(o.flag);
    const env = /\[(SPOOKY_[A-Z_]+)\]/.exec(o.help)?.[1] ?? '';
    return `| ${flagText(o)} | ${code(env)} | ${setting === undefined ? '' : code(setting.name)} | ${code(o.default ?? '')} | ${helpOf(o)} |`;
  });
  return `| flag | environment | Settings document | default | |\n|---|---|---|---|---|\n${rows.join('\n')}\n`;
};

const section = (command: Command): string => {
  const options =
    command.options.length === 0 ? '' : `\n${command.name === 'serve' ? serveTable(command.options) : plainTable(command.options)}`;
  const details = command.details === undefined ? '' : `\n${command.details}\n`;
  return `\n## ${command.name}\n\n${command.summary}\n\n\`\`\`\n${command.usage}\n\`\`\`\n${options}${details}`;
};

export const commandLinePage = (commands: readonly Command[]): string => HEAD + commands.map(section).join('');
