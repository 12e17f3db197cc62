/** `spooky explain`: where a request goes and why, out of the same table that serves. */
import { isIP } from 'node:net';
import type { Problem } from '../contract/resources/index.ts';
import { lowerAscii, normaliseAuthority } from '../contract/routes/host.ts';
import { compile } from '../control/compile/index.ts';
import { blocks, problemsOf } from '../control/problems.ts';
import { loadPaths } from '../control/sources/load.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { CLUSTER_OPTIONS, readClusterFlags } from './cluster/flags.ts';
import { EXIT, readArguments, usageFault, type Arguments, type Command, type CommandIo } from './command.ts';
import { answer } from './explain/answer.ts';
import type { Asked } from './explaintext.ts';

export const explain: Command = {
  name: 'explain',
  summary: 'Say where a request goes, and why the others lost.',
  usage:
    "spooky explain --config PATH METHOD URL [-H 'name: value']... [--from ADDR]\n" +
    "       spooky explain --kubernetes METHOD URL [-H 'name: value']... [--from ADDR] [FLAGS]",
  options: [
    { flag: '--config', value: 'PATH', help: 'A file or a directory: documents or a classic config.yaml.' },
    { flag: '-H', value: "'name: value'", help: 'A header of the request.', repeat: true },
    { flag: '--from', value: 'ADDR', help: 'The address of the client.' },
    { flag: '--kubernetes', help: 'Ask a live cluster instead of files.' },
    ...CLUSTER_OPTIONS,
  ],
  details: [
    'Nothing is sent to a Listener or a backend. With --kubernetes each kind is listed once, with your own credentials: Listeners and Upstreams must be readable, of the rest the answer says what could not be read and what that means.',
    'Exit codes: 0 explained, whatever the answer would be; 1 no Listener can be used, or no answer from the cluster; 2 usage.',
  ].join('\n'),
  async run(args, io) {
    const read = readArguments(explain, args, io);
    if (read.arguments === null) return read.exit;
    const given = read.arguments;
    const asked = readRequest(given);
    if (!asked.ok) return usageFault(explain, asked.error, io);
    const config = given.value('--config');
    if (given.has('--kubernetes')) {
      if (config !== null) return usageFault(explain, '--config and --kubernetes exclude each other', io);
      const flags = readClusterFlags(given);
      if (!flags.ok) return usageFault(explain, flags.error, io);
      return (await import('./explain/cluster.ts')).explainCluster(flags.value, asked.value, io);
    }
    const only = CLUSTER_OPTIONS.find((o) => given.has(o.flag));
    if (only !== undefined) return usageFault(explain, `${only.flag} is for --kubernetes`, io);
    if (config === null || config === '') return usageFault(explain, 'needs --config, a file or a directory, or --kubernetes', io);
    return explainFiles(config, asked.value, io);
  },
};

async function explainFiles(config: string, asked: Asked, io: CommandIo): Promise<number> {
  const { state } = await loadPaths([config], { cwd: io.cwd });
  const compiled = compile(state.set, { standalone: true });
  const problems = problemsOf(state, compiled, null);
  const faults = problems.filter((p) => p.severity === 'error');
  // Of two objects that want the same the older has it: that is served.
  const outcome = blocks(problems, compiled, null) ? 'would not start with them' : 'starts with them all the same';
  if (faults.length > 0) io.stderr(`spooky explain: ${summary(faults)}; \`spooky check\` shows all, \`serve\` ${outcome}\n`);
  if (compiled.listeners.length === 0) {
    io.stderr('spooky explain: there is no Listener that can be used\n');
    return EXIT.invalid;
  }
  io.stdout(answer(compiled, asked));
  return EXIT.ok;
}

const summary = (faults: readonly Problem[]): string => {
  const [first] = faults as [Problem];
  const rest = faults.length === 1 ? '' : ` (and ${faults.length - 1} more)`;
  return `${first.file}${first.line > 0 ? `:${first.line}` : ''}: ${first.message}${rest}`;
};

function readRequest(given: Arguments): Result<Asked, string> {
  const [method, url, ...rest] = given.positional;
  if (method === undefined || url === undefined || rest.length > 0) return err('needs a METHOD and a URL');
  if (!/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/.test(method)) return err(`${JSON.stringify(method)} is not a method`);
  const found = /^https:\/\/([^/?#]*)([^#]*)/.exec(url);
  if (found === null) return err('the URL must begin with https://');
  const authority = normaliseAuthority(found[1] as string);
  if (authority === null) return err(`${JSON.stringify(found[1])} is not a host, or a host and a port, that is served`);
  const headers = readHeaders(given.values('-H'));
  if (!headers.ok) return headers;
  const from = given.value('--from');
  if (from !== null && isIP(from) === 0) return err(`--from must be an IP address, not ${JSON.stringify(from)}`);
  const target = found[2] as string;
  return ok({
    method,
    url,
    host: authority.host,
    port: authority.port < 0 ? 443 : authority.port,
    // As a client writes it on the wire: UTF-8, and a path in any case.
    target: Buffer.from(target.startsWith('/') ? target : `/${target}`, 'utf8').toString('latin1'),
    from,
    ...headers.value,
  });
}

type Headers = Pick<Asked, 'names' | 'values'>;

function readHeaders(lines: readonly string[]): Result<Headers, string> {
  const headers = new Map<string, string[]>();
  for (const line of lines) {
    const colon = line.indexOf(':', 1);
    const name = lowerAscii(line.slice(0, Math.max(colon, 0)));
    if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name)) return err(`-H must be 'name: value', not ${JSON.stringify(line)}`);
    if (name === 'host') return err('the host is part of the URL');
    const value = Buffer.from(line.slice(colon + 1).trim(), 'utf8').toString('latin1');
    headers.set(name, [...(headers.get(name) ?? []), value]);
  }
  const names: string[] = [];
  const values: string[] = [];
  for (const [name, list] of headers) {
    // Names with an underscore never reach the table, and crumbs are one cookie by then.
    if (name.includes('_')) continue;
    for (const value of name === 'cookie' ? [list.join('; ')] : list) {
      names.push(name);
      values.push(value);
    }
  }
  return ok({ names, values });
}
