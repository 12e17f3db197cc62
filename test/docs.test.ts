/** Every sample in the documentation: configurations are checked, command lines are read, targets and links exist. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse, parseAllDocuments } from 'yaml';
import { COMMAND_NAMES, loadCommand } from '../src/cli/commands.ts';
import { readArguments } from '../src/cli/command.ts';
import { REASON_NAMES, REASONS } from '../src/contract/reasons.ts';
import { METRICS, PREFIX, type MetricName } from '../src/control/admin/metrics.ts';
import { CONDITION_REASONS } from '../src/control/compile/reasons.ts';
import type { Manifest } from './charts/manifest.ts';
import { judge, over } from './charts/schema.ts';
import { makeCa, makeLeaf } from './kit/certs.ts';

const ROOT = resolve(import.meta.dirname, '..');
const PAGES = [
  ...['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md'].map((f) => join(ROOT, f)),
  ...markdown(join(ROOT, 'docs')),
];

interface Sample {
  readonly page: string;
  readonly line: number;
  readonly language: string;
  /** What stands behind the language: ```yaml cluster. */
  readonly mark: string;
  readonly text: string;
}

function markdown(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((f) => f.endsWith('.md'))
    .map((f) => join(dir, f))
    .sort();
}

function samples(page: string): Sample[] {
  const found: Sample[] = [];
  const lines = readFileSync(page, 'utf8').split('\n');
  for (let i = 0; i < lines.length; i++) {
    const fence = /^ *```(\w*) ?(.*)$/.exec(lines[i] as string);
    if (fence === null) continue;
    const line = i + 1;
    const body: string[] = [];
    // In a list the whole sample is indented.
    const indent = (lines[i] as string).search(/\S/);
    for (i++; i < lines.length && (lines[i] as string).trim() !== '```'; i++) body.push((lines[i] as string).slice(indent));
    found.push({ page: relative(ROOT, page), line, language: fence[1] as string, mark: fence[2] as string, text: body.join('\n') });
  }
  return found;
}

const LISTENER = `apiVersion: spooky.dev/v1alpha1
kind: Listener
metadata: {name: public}
spec: {port: 8443, tls: {certificateRefs: [{files: {cert: certs/site.pem, key: certs/site-key.pem}}]}}
`;

const all = PAGES.flatMap(samples);
const configurations = all.filter((s) => s.language === 'yaml' && /^(?:apiVersion: spooky\.dev|version: 1)/m.test(s.text));
const commandLines = all
  .filter((s) => s.language === 'sh')
  .flatMap((s) => s.text.split('\n').map((text, i) => ({ ...s, text: text.replace(/\s#.*$/, '').trim(), line: s.line + 1 + i })));

describe('configurations', () => {
  let dir: string;
  let pem: { cert: string; key: string };

  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'spooky-docs-'));
    mkdirSync(join(dir, 'certs'));
    const ca = makeCa('documentation');
    const client = makeLeaf(ca, { names: ['edge'], purpose: 'client' });
    writeFileSync(join(dir, 'certs', 'edge.pem'), client.cert);
    writeFileSync(join(dir, 'certs', 'edge-key.pem'), client.key);
    for (const name of ['site', 'example-ecdsa', 'example-rsa', 'proxy', 'proxy-fullchain']) {
      const leaf = makeLeaf(ca, { names: ['localhost', '*.example.com'], type: name.endsWith('rsa') ? 'rsa' : 'ecdsa' });
      writeFileSync(join(dir, 'certs', `${name}.pem`), leaf.cert);
      writeFileSync(join(dir, 'certs', `${name}-key.pem`), leaf.key);
    }
    const leaf = makeLeaf(ca, { names: ['localhost', '*.example.com'] });
    writeFileSync(join(dir, 'certs', 'proxy-key-pkcs8.pem'), leaf.key);
    writeFileSync(join(dir, 'certs', 'internal-ca.pem'), ca.cert);
    pem = { cert: leaf.cert.toString(), key: leaf.key.toString() };
  });

  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test('there are some', () => expect(configurations.length).toBeGreaterThan(8));

  test.each(configurations.map((s) => [`${s.page}:${s.line}`, s] as const))('%s has nothing wrong', async (_where, sample) => {
    const file = join(dir, 'sample.yaml');
    const text = sample.text.replace('${SHOP_CERT}', JSON.stringify(pem.cert)).replace('${SHOP_KEY}', JSON.stringify(pem.key));
    // A page that shows an Upstream alone means: beside the Listener of the smallest configuration, or one that is in the cluster already.
    const alone = sample.mark === '' && text.includes('kind: Upstream') && !text.includes('kind: Listener');
    writeFileSync(file, alone ? `${LISTENER}---\n${text}` : text);
    const out: string[] = [];
    const io = { stdout: (t: string) => void out.push(t), stderr: (t: string) => void out.push(t), env: {}, cwd: dir };
    expect(['', 'cluster']).toContain(sample.mark);
    const code = await (await loadCommand('check'))?.run(sample.mark === 'cluster' ? ['--kubernetes', file] : ['--standalone', file], io);
    expect({ code, out: out.join('') }).toEqual({ code: 0, out: expect.stringContaining('nothing wrong') });
    expect(out.join('')).not.toContain('warning');
  });
});

describe('command lines', () => {
  const spooky = commandLines
    .map((s) => ({ ...s, words: s.text.replace(/\s&$/, '').split(/\s+/) }))
    .filter((s) => s.words[0] === 'spooky' || s.words[0] === 'bin/spooky' || s.words[0] === '/opt/spooky/bin/spooky');

  test('there are some', () => expect(spooky.length).toBeGreaterThan(8));

  test.each(spooky.map((s) => [`${s.page}:${s.line}: ${s.text}`, s] as const))('%s', async (_where, sample) => {
    const [, first = '', ...rest] = sample.words;
    const name = first.startsWith('--') ? 'serve' : first;
    expect(COMMAND_NAMES).toContain(name);
    const command = await loadCommand(name);
    const said: string[] = [];
    const io = { stdout: (t: string) => void said.push(t), stderr: (t: string) => void said.push(t), env: {}, cwd: ROOT };
    const args = name === first ? rest : [first, ...rest];
    const read = command === null ? null : readArguments(command, args, io);
    expect({ said: said.join(''), read: read?.arguments !== null }).toEqual({ said: '', read: true });
  });

  test('make targets exist', () => {
    const makefiles = ['Makefile', 'test/e2e/e2e.mk', 'test/bench/bench.mk', 'test/cluster/cluster.mk', 'test/cluster/stories/stories.mk']
      .map((f) => readFileSync(join(ROOT, f), 'utf8'))
      .join('\n');
    const targets = new Set(commandLines.map((s) => /^make ([a-z][a-z0-9-]*)/.exec(s.text)?.[1]).filter((t) => t !== undefined));
    expect(targets.size).toBeGreaterThan(3);
    for (const target of targets) expect(makefiles).toMatch(new RegExp(`^${target}:`, 'm'));
  });
});

describe('names', () => {
  const texts = PAGES.map((page) => ({ page: relative(ROOT, page), text: readFileSync(page, 'utf8') }));

  const factsOf = (name: string): { readonly type: string; readonly labels: readonly string[] } | undefined => {
    const base = name.slice(PREFIX.length);
    if (Object.hasOwn(METRICS, base)) return METRICS[base as MetricName];
    const histogram = base.replace(/_(?:bucket|sum|count)$/, '');
    const facts = Object.hasOwn(METRICS, histogram) ? METRICS[histogram as MetricName] : undefined;
    return facts?.type === 'histogram' ? facts : undefined;
  };

  test('of metrics, and of their labels, exist', () => {
    const wrong: string[] = [];
    let seen = 0;
    for (const { page, text } of texts) {
      for (const [, name = '', selector = ''] of text.matchAll(/\b(spooky_[a-z0-9_]+)(?:\{([^}]*)\})?/g)) {
        seen++;
        const facts = factsOf(name);
        if (facts === undefined) wrong.push(`${page}: ${name}`);
        for (const [, label = ''] of selector.matchAll(/(\w+)\s*[=!]/g))
          if (facts?.labels.includes(label) === false) wrong.push(`${page}: ${name}{${label}}`);
      }
    }
    expect(seen).toBeGreaterThan(60);
    expect(wrong).toEqual([]);
  });

  test('in alerts: a label that an annotation shows is one of the expression’s metric', () => {
    const rules = all.filter((s) => s.language === 'yaml' && s.text.startsWith('groups:'));
    expect(rules).toHaveLength(2);
    const alerts = rules.flatMap((s) => s.text.split('- alert:').slice(1));
    expect(alerts.length).toBeGreaterThan(15);
    for (const alert of alerts) {
      const expression = /expr: (.*)/.exec(alert)?.[1] ?? '';
      const metrics = [...expression.matchAll(/\bspooky_\w+/g)].map(([name]) => factsOf(name));
      expect({ alert, metrics: metrics.length > 0 && !metrics.includes(undefined) }).toEqual({ alert, metrics: true });
      const labels = new Set(['instance', 'job', ...metrics.flatMap((facts) => facts?.labels ?? [])]);
      for (const [, label] of alert.matchAll(/\$labels\.(\w+)/g)) expect([...labels]).toContain(label);
      // Rows of two metrics have the same labels, or the expression says by which they are matched.
      if (/ (?:and|unless|or) /.test(expression) && new Set(metrics.map((m) => m?.labels.join())).size > 1 && !expression.includes(' or '))
        expect(expression).toMatch(/ (?:on|ignoring) \(/);
    }
  });

  test('of flags are those of a command', async () => {
    const FOREIGN = {
      'curl, h2load, openssl': '--http3-only --cacert --h3',
      'npm, cargo, docker, node':
        '--read-only --tmpfs --omit --locked --no-default-features --target --build-arg --tag --max-old-space-size --max-semi-space-size --no-warnings',
      'node under perf': '--perf-basic-prof --interpreted-frames-native-stack --trace-gc',
      'kubectl, ctr': '--server-side --namespace --all-namespaces --as --subresource --tail --previous --cert --key --ignore-daemonsets',
      helm: '--create-namespace --no-hooks --set --wait --reset-values --reset-then-reuse-values --take-ownership',
    };
    const foreign = new Set(Object.values(FOREIGN).flatMap((flags) => flags.split(' ')));
    const ours = new Set(['--help', '--version']);
    for (const name of COMMAND_NAMES) for (const o of (await loadCommand(name))?.options ?? []) ours.add(o.flag);
    const used = texts.flatMap(({ page, text }) => [...text.matchAll(/(?<![\w-])--[a-z][a-z0-9-]*/g)].map(([flag]) => ({ page, flag })));
    expect(used.length).toBeGreaterThan(60);
    expect(used.filter(({ flag }) => !ours.has(flag) && !foreign.has(flag))).toEqual([]);
  });

  test('of reasons in the table of troubleshooting', () => {
    const page = readFileSync(join(ROOT, 'docs/operate/troubleshooting.md'), 'utf8');
    const named = [...page.matchAll(/^\| (`[^|]*)\|/gm)].flatMap(([, cell = '']) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name));
    expect(named.length).toBeGreaterThan(15);
    expect(named.filter((name) => !(REASON_NAMES as readonly (string | undefined)[]).includes(name))).toEqual([]);
    // `unexpected_status` is no request's, but a health check's.
    const used = REASON_NAMES.filter((name) => name !== 'ok' && name !== 'unexpected_status' && !REASONS[name].help.startsWith('Not used'));
    expect(used.filter((name) => !named.includes(name))).toEqual([]);
  });
});

describe('a cluster', () => {
  const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
  const documents = (text: string): Manifest[] =>
    parseAllDocuments(text)
      .map((d) => d.toJS() as Manifest | null)
      .filter((d) => d !== null);
  const table = (page: string, heading: string): string[][] =>
    [...(read(page).split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '').matchAll(/^\| (.+) \|$/gm)].map(([, row = '']) =>
      row.split(' | '),
    );

  test('every sample in YAML can be read', () => {
    const wrong = all
      .filter((s) => s.language === 'yaml')
      .flatMap((s) => parseAllDocuments(s.text).flatMap((d) => d.errors.map((e) => `${s.page}:${s.line}: ${e.message}`)));
    expect(wrong).toEqual([]);
  });

  test('values in samples are values of the chart', () => {
    const schema = JSON.parse(read('charts/spooky/values.schema.json')) as Parameters<typeof judge>[1];
    const defaults = parse(read('charts/spooky/values.yaml')) as Parameters<typeof over>[0];
    const faults = (given: unknown): string[] => judge(over(defaults, given as typeof defaults), schema);
    const values = all.filter((s) => s.language === 'yaml' && s.mark === 'values');
    expect(values.length).toBeGreaterThan(1);
    for (const s of values) expect([s.page, s.line, faults(parse(s.text))]).toEqual([s.page, s.line, []]);
    const set = commandLines.flatMap((s) =>
      [...s.text.matchAll(/--set (?:'([^']+)'|(\S+))/g)].map(([, quoted, plain]) => quoted ?? plain ?? ''),
    );
    expect(set.length).toBeGreaterThan(1);
    for (const assignment of set) {
      const [name = '', value = ''] = assignment.split('=');
      const judged = name.split('.').reduceRight<unknown>((inner, key) => ({ [key]: inner }), parse(value));
      expect([assignment, faults(judged)]).toEqual([assignment, []]);
    }
  });

  test('values that pages name are values of the chart', () => {
    const known = new Set([...read('charts/spooky/README.md').matchAll(/^\| `([\w.]+)` \|/gm)].map(([, name = '']) => name));
    expect(known.size).toBeGreaterThan(80);
    const roots = new Set([...known].map((name) => name.split('.')[0] as string));
    // Words of both: fields of a Listener, of a pod, and of Kubernetes.
    const pages = ['kubernetes', 'exposure', 'upgrades', 'tenancy'].map((p) => `docs/operate/${p}.md`);
    const named = pages.flatMap((page) =>
      [...read(page).matchAll(/`([a-z][A-Za-z]*(?:\.[A-Za-z]+)+)(?:: [^`]*)?`/g)].map(([, name = '']) => ({ page, name })),
    );
    const values = named.filter(({ name }) => roots.has(name.split('.')[0] as string));
    expect(values.length).toBeGreaterThan(20);
    const isKnown = (name: string): boolean => known.has(name) || [...known].some((k) => k.startsWith(`${name}.`));
    expect(values.filter(({ name }) => !isKnown(name))).toEqual([]);
  });

  test('what Helm renders for others to apply is without its hooks: the pod of `helm test`, and what deletes the Lease', () => {
    const pages = [...PAGES, join(ROOT, 'charts/spooky/README.md')];
    const rendered = pages.flatMap((page) => readFileSync(page, 'utf8').match(/helm template spooky [^`\n|]*/g) ?? []);
    expect(rendered.length).toBeGreaterThan(1);
    expect(rendered.filter((command) => !command.includes('--no-hooks'))).toEqual([]);
  });

  test('files that command lines name are there', () => {
    const paths = commandLines.flatMap((s) =>
      [...s.text.matchAll(/(?<![\w./-])((?:manifests|charts|crds|test)\/[\w./-]*)/g)].map(([, path = '']) => path),
    );
    expect(paths.length).toBeGreaterThan(5);
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  test('every reason of conditions is in the table of troubleshooting, under its condition', () => {
    const rows = table('docs/operate/troubleshooting-kubernetes.md', 'Conditions').filter(([type = '']) =>
      Object.hasOwn(CONDITION_REASONS, type),
    );
    const told = new Set(rows.map(([type, reason = '']) => `${type} ${reason.replaceAll('`', '')}`));
    const wanted = Object.entries(CONDITION_REASONS).flatMap(([type, reasons]) => reasons.map((reason) => `${type} ${reason}`));
    expect([...told].sort()).toEqual([...wanted].sort());
  });

  test('the table of rights has every right that manifests/install.yaml gives, and no other verb', () => {
    const rows = table('docs/operate/tenancy.md', 'What Spooky may do').map(([where = '', what = '', verbs = '']) => ({
      where,
      what,
      verbs,
    }));
    const rules = documents(read('manifests/install.yaml')).flatMap((d) =>
      (d.rules ?? []).flatMap((rule) =>
        rule.resources.map((resource) => ({ role: d.kind, aggregated: d.metadata.labels, resource, rule })),
      ),
    );
    const ours = rules.filter(({ aggregated }) => !Object.keys(aggregated ?? {}).some((l) => l.includes('aggregate-to')));
    expect(ours.length).toBeGreaterThan(10);
    for (const { role, resource, rule } of ours) {
      const row = rows.find((r) => r.what.includes(`\`${resource}\``));
      expect([resource, row?.where.startsWith('cluster')]).toEqual([resource, role === 'ClusterRole']);
      const verbs = row?.verbs.split(/[;,] /) ?? [];
      expect([resource, rule.verbs.filter((verb) => !verbs.includes(verb))]).toEqual([resource, []]);
    }
    const granted = new Set(rules.flatMap(({ rule }) => rule.verbs));
    const named = rows.filter((r) => r.what.startsWith('`')).flatMap((r) => r.verbs.split(/[;,] /));
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((verb) => !granted.has(verb))).toEqual([]);
  });

  test('the quick start shows what manifests/quickstart.yaml applies', () => {
    const [shown] = all.filter((s) => s.page === 'README.md' && s.mark === 'cluster');
    const applied = documents(read('manifests/quickstart.yaml')).filter((d) => d.apiVersion === 'spooky.dev/v1alpha1');
    expect(documents(shown?.text ?? '')).toEqual(applied);
    expect(read('README.md')).toContain('kubectl apply -f manifests/quickstart.yaml');
  });

  test('the versions are those of the chart', () => {
    const chart = parse(read('charts/spooky/Chart.yaml')) as { kubeVersion: string; annotations: Record<string, string> };
    const oldest = /[0-9]+\.[0-9]+/.exec(chart.kubeVersion)?.[0] as string;
    const tested = /Kubernetes ([0-9.]+)/.exec(chart.annotations['spooky.dev/tested'] ?? '')?.[1] as string;
    expect(read('docs/operate/kubernetes.md')).toContain(`| Kubernetes | ${oldest} or newer; tested with ${tested}`);
    expect(read('docs/reference/limitations.md')).toContain(`- Kubernetes ${oldest} or newer.`);
  });
});

test('the unit of systemd has no setting twice and starts what is documented', () => {
  const unit = all.find((s) => s.language === 'ini' && s.text.includes('[Service]'))?.text ?? '';
  const settings = unit.split('\n').filter((l) => /^[A-Z]\w+=/.test(l));
  const once = settings.map((l) => l.split('=')[0]);
  expect(new Set(once).size).toBe(once.length);
  expect(unit).toContain('ExecStart=/opt/spooky/bin/spooky serve --config');
});

test.each(PAGES.map((p) => [relative(ROOT, p), p] as const))('the links of %s lead somewhere', (_name, page) => {
  const text = readFileSync(page, 'utf8').replaceAll(/^```[\s\S]*?^```/gm, '');
  const broken: string[] = [];
  for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (target === undefined || /^[a-z]+:/.test(target)) continue;
    const [path = '', anchor] = target.split('#');
    const file = path === '' ? page : resolve(dirname(page), path);
    if (!existsSync(file)) broken.push(target);
    else if (anchor !== undefined && !anchors(file).has(anchor)) broken.push(target);
  }
  expect(broken).toEqual([]);
});

/** As GitHub makes them: lower case, punctuation gone, blanks to dashes. */
function anchors(file: string): Set<string> {
  const headings = readFileSync(file, 'utf8').matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map(([, h = '']) =>
      h
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    ),
  );
}
