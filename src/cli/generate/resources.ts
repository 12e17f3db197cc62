/** The reference page of what users write, from the same schemas as the loader and the CRDs. */
import { SETTINGS, SHAPES, type Member, type Shape } from '../../contract/resources/index.ts';

interface Row {
  readonly path: string;
  readonly cells: readonly string[];
}

const escape = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('\n', ' ');
const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``;

function typeOf(shape: Shape): string {
  switch (shape.kind) {
    case 'object':
      return 'map';
    case 'map':
      return 'map of text';
    case 'list':
      return shape.item.kind === 'object' ? 'list' : `list of ${typeOf(shape.item)}`;
    case 'leaf':
      if (shape.info.format !== '') return shape.info.format;
      if (shape.info.leaf?.enum !== undefined) return 'enum';
      return shape.info.leaf?.type === 'boolean' ? 'boolean' : shape.info.leaf?.type === 'integer' ? 'integer' : 'text';
  }
}

function fallbackOf(member: Member): string {
  if (member.clusterRequired) return member.fallback === undefined ? 'required' : `${code(String(member.fallback))}; in a cluster required`;
  if (member.required) return '**required**';
  const { fallback } = member;
  if (fallback === undefined) return 'none';
  if (typeof fallback === 'object' && fallback !== null && !Array.isArray(fallback))
    return Object.keys(fallback).length === 0 ? 'as below' : code(JSON.stringify(fallback));
  return code(Array.isArray(fallback) ? JSON.stringify(fallback) : String(fallback));
}

function rangeOf(shape: Shape): string {
  if (shape.kind === 'list' && shape.item.kind === 'leaf' && shape.item.info.leaf?.enum !== undefined)
    return `${shape.info.range}: ${code(shape.item.info.range)}`;
  if (shape.kind === 'leaf' && shape.info.leaf?.enum !== undefined) return shape.info.leaf.enum.map(code).join(' ');
  return escape(shape.info.range);
}

function rowsOf(shape: Shape, path: string, rows: Row[]): void {
  if (shape.kind === 'list') rowsOf(shape.item, `${path}[]`, rows);
  if (shape.kind !== 'object') return;
  for (const [name, member] of shape.members) {
    const at = path === '' ? name : `${path}.${name}`;
    const help = member.standalone ? `${member.shape.info.help} Standalone only.` : member.shape.info.help;
    rows.push({ path: at, cells: [code(at), typeOf(member.shape), fallbackOf(member), rangeOf(member.shape), escape(help)] });
    rowsOf(member.shape, at, rows);
  }
}

const table = (heads: readonly string[], rows: readonly (readonly string[])[]): string =>
  [`| ${heads.join(' | ')} |`, `|${heads.map(() => '---').join('|')}|`, ...rows.map((r) => `| ${r.join(' | ')} |`)].join('\n');

function rulesOf(shape: Shape, path: string, into: string[]): void {
  if (shape.kind === 'leaf' || shape.kind === 'map') return;
  for (const r of shape.info.rules) {
    const at = [path, ...r.at].filter((s) => s !== '').join('.');
    into.push(`- ${at === '' ? '' : `${code(at)} `}${escape(r.message)}.`);
  }
  if (shape.kind === 'list') return rulesOf(shape.item, `${path}[]`, into);
  for (const [name, member] of shape.members) rulesOf(member.shape, path === '' ? name : `${path}.${name}`, into);
}

function laterOf(shape: Shape, path: string, into: string[]): void {
  if (shape.kind === 'list') laterOf(shape.item, `${path}[]`, into);
  if (shape.kind !== 'object') return;
  for (const name of shape.info.later.keys()) into.push(code(path === '' ? name : `${path}.${name}`));
  for (const [name, member] of shape.members) laterOf(member.shape, path === '' ? name : `${path}.${name}`, into);
}

function kind(name: keyof typeof SHAPES): string {
  const { spec, status } = SHAPES[name];
  const rows: Row[] = [];
  const rules: string[] = [];
  const later: string[] = [];
  const statusRows: Row[] = [];
  rowsOf(spec, '', rows);
  rulesOf(spec, '', rules);
  laterOf(spec, '', later);
  rowsOf(status, '', statusRows);
  return [
    `## ${name}\n\n${spec.info.help} Fields below \`spec\`:\n`,
    table(['field', 'type', 'default', 'range', 'meaning'], rows.map((r) => r.cells)), // prettier-ignore
    `\nRules over several fields:\n\n${[...new Set(rules)].join('\n')}\n`,
    `Refused as "not supported yet": ${later.join(', ')}.\n`,
    `Fields below \`status\`, in a cluster:\n`,
    table(['field', 'type', 'meaning'], statusRows.map((r) => [r.cells[0] as string, r.cells[1] as string, r.cells[4] as string])), // prettier-ignore
  ].join('\n');
}

const settings = (): string =>
  [
    '## Settings\n\nStandalone only: the flags of `serve`, by the same names. Flag before environment before this document before the default.\n',
    table(
      ['field', 'flag', 'environment', 'value', 'default', 'meaning'],
      SETTINGS.map((s) => [code(s.name), code(s.flag), code(s.env), code(s.value), escape(s.defaultText), escape(s.help)]),
    ),
  ].join('\n');

const HEAD = `# Resources

<!-- Generated from the schemas in src/contract/resources: make generate -->

Group \`spooky.dev\`, version \`v1alpha1\`. Files hold any number of documents, with \`---\` lines between them, in any order; a directory is all its \`.yaml\`, \`.yml\` and \`.json\` files.
Beside these kinds they may hold \`v1\` Secrets (\`data\` in base64, or \`stringData\`) and ConfigMaps. The namespace is \`default\` where none is given.

- Durations are text: \`250ms\`, \`30s\`, \`5m\`, \`1h30m\`. Sizes are bytes, or text with \`Ki\`, \`Mi\`, \`Gi\`, \`Ti\`.
- Words like \`off\`, \`no\` and \`y\` need quotes: they are booleans to the YAML 1.1 that clusters read, so that they are refused here too.
- Unknown fields, keys written twice, and objects written twice are errors. A field without a value counts as absent, with a warning.
`;

export const resourcesPage = (): string => `${[HEAD, kind('Listener'), '', kind('Upstream'), '', settings()].join('\n')}\n`;
