/** The reference page of the classic `config.yaml`, from the table that its reader uses. */
import { CLASSIC_KEYS, type ClassicKey } from '../../control/sources/classickeys.ts';

const HEAD = `# The classic config.yaml

<!-- Generated from the table in src/control/sources/classickeys.ts: make generate -->

A file whose top has \`version: 1\` (or \`listen\`, \`listeners\` or \`upstream\`), and neither \`apiVersion\` nor \`kind\`, is the configuration that Spooky's users know from versions 0.1 to 0.4.
It is translated into [resources](resources.md): \`spooky check config.yaml\` says what it makes of it.

- **State** *yes*: honoured. *default*: accepted at its default, or below a feature whose \`enabled\` is false; anything else is refused by name as "not supported yet". Unknown keys are errors.
- **Default** is what classic Spooky used. Where the file is silent **ours** holds instead, where that column has one: several of theirs cut real traffic. \`0\` and \`0s\` stand for no limit.
- **Schemes** of backends: \`https://\` is verified HTTP/2; \`h2c://\` is HTTP/2 in clear text; \`http://\` (HTTP/1.1) is not supported yet; no scheme is \`https://\`, or clear text with a warning where \`verify_certificates\` is false. One pool has one scheme.
- **Precedence**: classic Spooky looked for the longest path first and compared it as text, then at the host. Now the host comes first, and prefixes end with a segment: \`/api\` is not \`/apix\`. \`spooky check\` warns about each pair of routes of which the other one serves a request now.
- **Names**: the pool \`api_pool\` becomes the Upstream \`api-pool\` in namespace \`default\`; \`listen\` becomes the Listener \`listen\`, the items of \`listeners\` become \`listen-1\`, \`listen-2\`, and so on.
- **Files**: relative paths are tried relative to the working directory, then to the file.
- **Certificates**: each must cover its \`server_name\`, and no other certificate may cover it as well. A missing or unknown name gets the first certificate.
- **Health checks** of the backends of a pool must be the same.
- \`log.level\` has both sets of names: trace/whisper, debug/haunt, info/spooky, warn/scream, error/poltergeist, off/silence.
`;

const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``;

const fallbackOf = (key: ClassicKey): string => {
  if (key.fallback === undefined) return '**required**';
  return key.fallback === null || key.fallback === '' ? 'none' : code(JSON.stringify(key.fallback));
};

const row = (key: ClassicKey): string =>
  `| ${code(key.path)} | ${fallbackOf(key)} | ${key.ours === '' ? '' : code(key.ours)} | ${key.state} | ${key.becomes.replaceAll('|', '\\|')} |`;

export const classicPage = (): string =>
  `${HEAD}\n| key | default | ours | state | becomes, or what to do instead |\n|---|---|---|---|---|\n${CLASSIC_KEYS.map(row).join('\n')}\n`;
