/** values.yaml, values.schema.json and the chart's copies of the CRDs. */
import { stringify } from 'yaml';
import { crdFiles } from '../crds.ts';
import { isGroup, type Json, type Value } from './value.ts';
import { VALUES } from './values.ts';

type Members = Readonly<Record<string, Value>>;

const schemaOf = (value: Value): Json =>
  isGroup(value) ? { description: value.help, ...objectSchema(value.members) } : { description: value.help, ...value.schema };

/** Lists, maps and texts may be empty; without anything else templates cannot do. Helm takes what is null away, before it looks at the schema. */
const isNeeded = (value: Value): boolean => isGroup(value) || (typeof value.default !== 'object' && value.default !== '');

const objectSchema = (members: Members): Json => ({
  type: 'object',
  properties: Object.fromEntries(Object.entries(members).map(([name, value]) => [name, schemaOf(value)])),
  required: Object.keys(members).filter((name) => isNeeded(members[name] as Value)),
  additionalProperties: false,
});

export const chartSchema = (): string => {
  const { type, properties, required, additionalProperties } = objectSchema(VALUES);
  // Helm hands `global` to every chart that is part of another one.
  const all = {
    ...(properties as Json),
    global: { type: 'object', description: 'What a chart around this one says to all of its parts; not used.' },
  };
  return `${JSON.stringify({ $schema: 'http://json-schema.org/draft-07/schema#', title: 'Values of the chart spooky', type, properties: all, required, additionalProperties }, null, 2)}\n`;
};

const WIDTH = 140;

const wrapped = (text: string, width: number): string[] => {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + word.length + 1 > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
};

const isBare = (value: unknown): boolean =>
  typeof value !== 'object' || value === null || (Array.isArray(value) ? value : Object.keys(value)).length === 0;

const defaultLines = (name: string, value: unknown, indent: string): string[] =>
  stringify({ [name]: value }, { lineWidth: 0, ...(isBare(value) ? { defaultStringType: 'PLAIN' } : {}) })
    .trimEnd()
    .split('\n')
    .map((line) => `${indent}${line}`);

/** What may be written, where the schema lists it. */
export const wordsOf = (value: Value): string => {
  const words = isGroup(value) ? undefined : (value.schema['enum'] as unknown[] | undefined);
  return words === undefined ? '' : words.map((w) => (w === '' ? '""' : String(w))).join(' | ');
};

function* valueLines(members: Members, indent: string): Generator<string> {
  for (const [name, value] of Object.entries(members)) {
    if (indent === '') yield '';
    for (const line of wrapped(value.help, WIDTH - indent.length)) yield `${indent}# ${line}`;
    const words = wordsOf(value);
    if (words !== '') yield `${indent}# ${words}`;
    if (isGroup(value)) {
      yield `${indent}${name}:`;
      yield* valueLines(value.members, `${indent}  `);
    } else yield* defaultLines(name, value.default, indent);
  }
}

const HEAD = '# The values of the chart, with their defaults.\n# Generated from src/cli/generate/chart/values.ts: make generate\n';

export const valuesFile = (): string => `${HEAD}${[...valueLines(VALUES, '')].join('\n')}\n`;

/** Helm reads `{{` in a template wherever it stands. */
const escaped = (text: string): string => text.replaceAll('{{', '{{ "{{" }}');

/** Upgraded with the release, and not taken away with it: an uninstall would delete every object of the kinds. */
const template = (crd: string): string => {
  const marked = crd.replace(/^ {2}annotations:\n/m, (line) => `${line}    helm.sh/resource-policy: keep\n`);
  if (marked === crd) throw new Error('a CRD without annotations');
  return `{{- if .Values.crds.enabled }}\n${escaped(marked)}{{- end }}\n`;
};

export const crdTemplates = (): Map<string, string> =>
  new Map([...crdFiles()].map(([path, text]) => [`charts/spooky/templates/${path}`, template(text)]));
