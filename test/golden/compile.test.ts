/** Documents in, snapshot and verdicts out: `test/golden/compile/NAME.in.yaml` and `NAME.out.yaml`. `make golden` writes the outputs anew. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { stringify } from 'yaml';
import { dumpSnapshot } from '../../src/contract/snapshot/index.ts';
import { inspectCertificate } from '../../src/contract/tls.ts';
import { compile, type ObjectStatus } from '../../src/control/compile/index.ts';
import { loadPaths } from '../../src/control/sources/load.ts';
import { problemText } from '../../src/cli/check.ts';
import { makeAuthority, makeCertificate, type CertificateOptions } from '../kit/x509.ts';

const HERE = join(import.meta.dirname, 'compile');
const UPDATE = process.env['SPOOKY_GOLDEN'] === 'update';

/** What documents find beside them as `certs/NAME.pem` and `certs/NAME.key`; `"@ca.pem@"` stands for the text of a root. */
const CERTIFICATES: Readonly<Record<string, CertificateOptions>> = {
  site: { names: ['site.example', '*.site.example'] },
  'site-rsa': { names: ['site.example', '*.site.example'], type: 'rsa' },
  api: { names: ['api.example'] },
  wild: { names: ['*.example'] },
  client: { names: ['edge.internal'], usages: ['1.3.6.1.5.5.7.3.2'] },
};

let dir = '';
/** Texts that differ from run to run, and what stands for them. */
const stable = new Map<string, string>();

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'golden-'));
  mkdirSync(join(dir, 'certs'));
  const file = (name: string, text: string): void => writeFileSync(join(dir, 'certs', name), text);
  for (const [name, o] of Object.entries(CERTIFICATES)) {
    const made = makeCertificate(o);
    file(`${name}.pem`, made.chain);
    file(`${name}.key`, made.key);
    const facts = inspectCertificate(Buffer.from(made.chain), Buffer.from(made.key), o.usages === undefined ? 'server' : 'client');
    if (!facts.ok) throw new Error(facts.error);
    stable.set(facts.value.fingerprint, `<fingerprint of ${name}>`);
  }
  const root = makeAuthority();
  file('ca.pem', root.cert);
  stable.set(JSON.stringify(root.cert).slice(1, -1), '<ca.pem>');
  stable.set(`${dir}/`, '');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Conditions in a line each: what is as it should be in a word. */
function conditionsText(conditions: ObjectStatus['conditions']): Record<string, string> {
  return Object.fromEntries(conditions.map((c) => [c.type, `${c.status} ${c.reason}${c.message === '' ? '' : `: ${c.message}`}`]));
}

async function outcome(input: string): Promise<string> {
  const text = readFileSync(join(HERE, `${input}.in.yaml`), 'utf8');
  writeFileSync(join(dir, 'in.yaml'), text.replaceAll('"@ca.pem@"', JSON.stringify(readFileSync(join(dir, 'certs', 'ca.pem'), 'utf8'))));
  const { state } = await loadPaths(['in.yaml'], { cwd: dir });
  const compiled = compile(state.set, { standalone: true });
  const result = {
    problems: [...state.problems, ...compiled.problems].map(problemText),
    statuses: compiled.statuses.map(({ kind, namespace, name, conditions, attached, attachedUpstreams, listeners }) => ({
      object: `${kind} ${namespace}/${name}`,
      ...(attached === undefined ? { attachedUpstreams } : { attached: `${attached.taken}/${attached.asked}` }),
      conditions: conditionsText(conditions),
      ...(listeners === undefined || listeners.length < 2
        ? {}
        : { listeners: Object.fromEntries(listeners.map((l) => [`${l.namespace}/${l.name}`, conditionsText(l.conditions)])) }),
    })),
    endpoints: Object.fromEntries(
      Array.from(compiled.groups, ([id, source]) => [id, source.addresses.map((a) => `${a.host} ${a.port} weight ${a.weight} label ${a.label}`)]),
    ),
    snapshot: dumpSnapshot({ root: { version: 1, listeners: compiled.listeners }, parts: compiled.parts }),
  };
  let json = JSON.stringify(result);
  for (const [from, to] of stable) json = json.replaceAll(from, to);
  return stringify(JSON.parse(json), { lineWidth: 0, aliasDuplicateObjects: false });
}

const inputs = readdirSync(HERE)
  .filter((f) => f.endsWith('.in.yaml'))
  .map((f) => f.slice(0, -'.in.yaml'.length))
  .sort();

describe('documents -> snapshot and statuses', () => {
  test.each(inputs)('%s', async (input) => {
    const text = await outcome(input);
    expect(text).not.toContain('PRIVATE KEY');
    const path = join(HERE, `${input}.out.yaml`);
    if (UPDATE) writeFileSync(path, text);
    expect(text).toBe(readFileSync(path, 'utf8'));
  });

  test('no output is left without its input', () => {
    expect(inputs.length).toBeGreaterThan(0);
    for (const file of readdirSync(HERE)) expect(existsSync(join(HERE, file.replace(/\.(in|out)\.yaml$/, '.in.yaml')))).toBe(true);
  });
});
