/** What `spooky explain` says, of the Listeners that the request reaches. */
import { normaliseTarget, type Target, type TargetError } from '../../contract/routes/path.ts';
import type { ListenerPart } from '../../contract/snapshot/index.ts';
import type { Compiled } from '../../control/compile/index.ts';
import { explainListener, type Asked, type Facts } from '../explaintext.ts';
import { printable } from '../printable.ts';

const REFUSED: Readonly<Record<TargetError, string>> = {
  malformed: 'the path is malformed',
  escaped_separator: 'the path has an escaped slash or backslash, and the Listener does not keep them (path.escapedSlashes)',
  nul: 'the path has an escaped NUL',
};

const ownPorts = (l: ListenerPart): readonly number[] => [l.advertisedPort, l.port];

/** `ports`: by which ones clients reach a Listener. */
export function answer(
  compiled: Compiled,
  asked: Asked,
  facts: Facts | null = null,
  ports: (listener: ListenerPart) => readonly number[] = ownPorts,
): string {
  const all = compiled.listeners.map((hash) => compiled.parts.get(hash) as ListenerPart);
  const reached = all.filter((l) => ports(l).includes(asked.port));
  const lines = [`${asked.method} ${asked.url}`, ''];
  if (reached.length === 0) lines.push(`No Listener is reached at port ${asked.port}; this is what each of them would do.`, '');
  for (const listener of reached.length > 0 ? reached : all) lines.push(...explainOn(compiled, listener, asked, facts), '');
  return lines.map(printable).join('\n');
}

function explainOn(compiled: Compiled, listener: ListenerPart, asked: Asked, facts: Facts | null): string[] {
  if (asked.method === 'CONNECT') return [`Listener ${listener.namespace}/${listener.name}`, '  answers 501: CONNECT is not supported'];
  const target: Target | TargetError = normaliseTarget(asked.target, listener.escapedSlashes);
  if (typeof target !== 'string') return explainListener(compiled, listener, asked, target, facts);
  return [`Listener ${listener.namespace}/${listener.name}`, `  answers 400: ${REFUSED[target]}`];
}
