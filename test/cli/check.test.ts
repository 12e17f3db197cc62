import { afterAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check } from '../../src/cli/check.ts';
import { makeCa, makeLeaf } from '../kit/certs.ts';
import { makeCertificate } from '../kit/x509.ts';

const dir = mkdtempSync(join(tmpdir(), 'spooky-check-'));
afterAll(() => rmSync(dir, { recursive: true }));

const leaf = makeLeaf(makeCa('check'), { names: ['www.example.com'] });
writeFileSync(join(dir, 'c.pem'), leaf.cert);
writeFileSync(join(dir, 'k.pem'), leaf.key);
writeFileSync(join(dir, 'other.pem'), makeLeaf(makeCa('check'), { names: ['other.example.com'] }).key);

const listener = (key = 'k.pem') =>
  `apiVersion: spooky.dev/v1alpha1\nkind: Listener\nmetadata: {name: public}\nspec:\n  port: 8443\n  tls:\n    certificateRefs:\n      - files: {cert: c.pem, key: ${key}}\n`;
const upstream = (more = '') =>
  `---\napiVersion: spooky.dev/v1alpha1\nkind: Upstream\nmetadata: {name: api}\nspec:\n  hostnames: ["*"]\n  backends: [{addresses: [{address: "127.0.0.1:7001"}]}]\n${more}`;

async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const out = { stdout: '', stderr: '' };
  const code = await check.run(args, { stdout: (s) => void (out.stdout += s), stderr: (s) => void (out.stderr += s), env: {}, cwd: dir });
  return { code, ...out };
}

const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return name;
};

describe('spooky check', () => {
  test('0 when nothing is wrong', async () => {
    expect(await run(file('good.yaml', listener() + upstream()))).toEqual({
      code: 0,
      stdout: 'nothing wrong with 1 Listener, 1 Upstream, 0 Secrets, 0 ConfigMaps, judged as files\n',
      stderr: '',
    });
  });

  test('1 with every problem by place, field and what would be right', async () => {
    const { code, stdout } = await run(file('bad.yaml', listener() + upstream('  weigth: 1\n  retry: {}\n')));
    expect(code).toBe(1);
    expect(stdout.split('\n').slice(0, 3)).toEqual([
      expect.stringMatching(/^bad\.yaml:16:3: spec\.weigth: is unknown; known here: /),
      'bad.yaml:17:3: spec.retry: retry is not supported yet',
      '2 problems found, judged as files',
    ]);
  });

  test('what only the whole shows is a problem, too', async () => {
    const expression = await run(file('regex.yaml', listener() + upstream('  matches: [{path: {type: Regex, value: "(a"}}]\n')));
    expect([expression.code, expression.stdout]).toEqual([1, expect.stringMatching(/^regex\.yaml:16:\d+: spec\.matches\[0\]/)]);
    const key = await run(file('key.yaml', listener('other.pem') + upstream()));
    expect([key.code, key.stdout]).toEqual([1, expect.stringMatching(/^key\.yaml:8:\d+: spec\.tls\.certificateRefs\[0\]/)]);
    expect(key.stdout).not.toContain('PRIVATE KEY');
  });

  test('of a certificate and its key the file that is at fault is named, whether the Listener is refused for more or not', async () => {
    const at = (place: string, name: string): RegExp =>
      new RegExp(`: spec\\.tls\\.certificateRefs\\[0\\]: ${dir}/${name}: there is no ${place} in it`);
    const both = [listener('empty.pem'), listener('empty.pem').replace('8443', '70000')];
    file('empty.pem', '\n');
    for (const text of both) expect((await run(file('empty.yaml', text + upstream()))).stdout).toMatch(at('private key', 'empty.pem'));
    const without = (text: string): string => text.replace('cert: c.pem', 'cert: empty.pem');
    for (const text of both)
      expect((await run(file('empty.yaml', without(text) + upstream()))).stdout).toMatch(at('certificate', 'empty.pem'));
    expect((await run(file('swapped.yaml', listener('c.pem') + upstream()))).stdout).toMatch(at('private key', 'c.pem'));
  });

  test('a certificate that has expired is a warning: it would be served, and nobody would take it', async () => {
    const old = makeCertificate({ names: ['DNS:www.example.com'], notBefore: Date.UTC(2026, 0, 1), notAfter: Date.UTC(2026, 0, 2) });
    writeFileSync(join(dir, 'old.pem'), old.cert);
    file('old-key.pem', old.key);
    const text = (listener('old-key.pem') + upstream()).replace('c.pem', 'old.pem');
    expect(await run(file('expired.yaml', text))).toEqual({
      code: 0,
      stdout:
        `expired.yaml:8:9: spec.tls.certificateRefs[0]: warning: ${dir}/old.pem: the certificate has expired (2026-01-02T00:00:00.000Z): whoever verifies it refuses it\n` +
        'nothing wrong with 1 Listener, 1 Upstream, 0 Secrets, 0 ConfigMaps, judged as files\n',
      stderr: '',
    });
  });

  test('that nobody takes an Upstream is not told while a Listener that could take it cannot be read', async () => {
    const other =
      'apiVersion: spooky.dev/v1alpha1\nkind: Listener\nmetadata: {name: other}\nspec:\n  port: 8444\n  hostnames: [www.example.com]\n';
    const served = `${other}  tls: {certificateRefs: [{files: {cert: c.pem, key: k.pem}}]}\n---\n`;
    const broken = listener().replace('port:', 'prt:');
    const own = [
      expect.stringContaining(': spec.port: is required'),
      expect.stringContaining(': spec.prt: is unknown (did you mean port?)'),
    ];
    const told = async (text: string): Promise<string[]> => (await run(file('nobody.yaml', text))).stdout.split('\n').slice(0, -2);
    expect(await told(broken + upstream())).toEqual(own);
    expect(await told(broken + upstream('  listeners: [{name: public}]\n'))).toEqual(own);
    expect(await told(served + broken + upstream().replace('"*"', 'shop.example.com'))).toEqual(own);
    expect(await told(listener().replace('  port', '\tport') + upstream())).not.toContainEqual(expect.stringContaining('no Listener'));
    const classic = 'version: 1\nlisten: {port: 70000, tls: {cert: c.pem, key: k.pem}}\n';
    expect(await told(`${classic}upstream: {a: {route: {path_prefix: /}, backends: [{id: a, address: "h2c://127.0.0.1:1"}]}}\n`)).toEqual([
      expect.stringContaining(': listen.port: must be'),
    ]);
    // What has nothing to do with it is told.
    expect(await told(broken + upstream('  listeners: [{name: gone}]\n'))).toEqual([
      ...own,
      expect.stringContaining(': spec.listeners[0]: there is no Listener default/gone'),
    ]);
    const refused = `${upstream('  weigth: 1\n')}${upstream().replace('name: api', 'name: b')}`;
    expect(await told(refused.slice('---\n'.length))).toContainEqual(
      expect.stringContaining(': spec.listeners: there is no Listener that'),
    );
  });

  test('settings that do not go together are a warning: flags may say otherwise', async () => {
    const told = async (spec: string): Promise<readonly [number, string]> => {
      const text = `${listener()}${upstream()}---\napiVersion: spooky.dev/v1alpha1\nkind: Settings\nspec:\n${spec}`;
      const { code, stdout } = await run(file('settings.yaml', text));
      return [code, stdout.split('\n').slice(0, -2).join('\n')];
    };
    const end = ': serve does not start with it, unless a flag or its environment says otherwise';
    expect(await told('  metrics: 127.0.0.1:9901\n')).toEqual([0, '']);
    expect(await told('  metrics: 127.0.0.1:9903\n  admin: 127.0.0.1:9903\n')).toEqual([
      0,
      `settings.yaml:21:3: spec.admin: warning: must be another address than --metrics${end}`,
    ]);
    expect(await told('  metrics: 127.0.0.1:9902\n')).toEqual([
      0,
      `settings.yaml:17:1: --admin: warning: must be another address than --metrics${end}`,
    ]);
    expect(await told('  admin: 0.0.0.0:9902\n')).toEqual([
      0,
      `settings.yaml:20:3: spec.admin: warning: without --admin-token-file the admin API binds loopback only, not 0.0.0.0${end}`,
    ]);
  });

  test('what is wrong beside a fault of the schema is told with it', async () => {
    const text = [
      'apiVersion: spooky.dev/v1alpha1',
      'kind: Listener',
      'metadata: {name: public}',
      'spec:',
      '  port: 70000',
      '  tls:',
      '    certificateRefs:',
      '      - files: {cert: gone.pem, key: k.pem}',
      '      - files: {cert: c.pem, key: other.pem}',
      '---',
      'apiVersion: spooky.dev/v1alpha1',
      'kind: Upstream',
      'metadata: {name: api}',
      'spec:',
      '  hostnames: ["*"]',
      '  retry: {}',
      '  matches:',
      '    - path: {type: Regex, value: "(a"}',
      '      headers: [{name: x-a, type: Regex, value: "[z"}]',
      '  backends:',
      '    - addresses: [{address: "127.0.0.1:7001"}]',
      '      tls:',
      '        caRef: {files: {ca: k.pem}}',
      '        clientCertificateRef: {files: {cert: gone.pem}}',
      '',
    ].join('\n');
    const { stdout } = await run(file('both.yaml', text));
    expect(stdout.split('\n').map((l) => l.replaceAll(`${dir}/`, ''))).toEqual([
      'both.yaml:5:3: spec.port: must be a whole number, 1 to 65535, not 70000',
      'both.yaml:8:9: spec.tls.certificateRefs[0]: gone.pem: cannot be read: no such file or directory',
      expect.stringMatching(/^both\.yaml:9:9: spec\.tls\.certificateRefs\[1\]: c\.pem: .*key/),
      'both.yaml:16:3: spec.retry: retry is not supported yet',
      expect.stringMatching(/^both\.yaml:18:\d+: spec\.matches\[0\]\.path\.value: not a regular expression/),
      expect.stringMatching(/^both\.yaml:19:\d+: spec\.matches\[0\]\.headers\[0\]\.value: not a regular expression/),
      expect.stringMatching(/^both\.yaml:23:9: spec\.backends\[0\]\.tls\.caRef: k\.pem: /),
      'both.yaml:24:9: spec.backends[0].tls.clientCertificateRef: gone.pem: cannot be read: no such file or directory',
      expect.stringMatching(/^both\.yaml:24:\d+: spec\.backends\[0\]\.tls\.clientCertificateRef\.files\.key: is required/),
      '9 problems found, judged as files',
      '',
    ]);
    expect(stdout).not.toContain('PRIVATE KEY');
  });

  test('a classic file is told of its own keys, whoever finds the fault', async () => {
    const text = [
      'version: 1',
      'listen:',
      '  tls: {cert: c.pem, key: other.pem}',
      'upstream:',
      '  api:',
      '    route: {path_prefix: /api}',
      '    backends: [{id: a, address: "h2c://127.0.0.1:7001"}]',
      '',
    ].join('\n');
    const { stdout } = await run(file('config.yaml', text));
    expect(stdout).toMatch(/^config\.yaml:3:\d+: listen\.tls(?:\.\w+)?: .*\n1 problem found, judged as files\n$/);
    const gone = await run(file('config.yaml', text.replace('other.pem', 'gone.pem')));
    expect(gone.stdout).toContain(`listen.tls.key: names a file that does not exist: "${dir}/gone.pem"\n`);
  });

  test('a classic file is told of its own keys in its own terms', async () => {
    const pool = (address: string) => `upstream: {a: {route: {path_prefix: /}, backends: [{id: a, address: "${address}"}]}}\n`;
    const told = async (text: string): Promise<string[]> =>
      (await run(file('config.yaml', text))).stdout.split('\n').map((line) => line.replace(/^config\.yaml:/, ''));
    const listen = 'version: 1\nlisten: {tls: {cert: c.pem, key: k.pem}}\n';
    const admin = 'observability:\n  control_api: {enabled: true, address: 0.0.0.0}\n';
    expect((await told(listen + pool('h2c://127.0.0.1:1') + admin))[0]).toMatch(
      /^5:3: observability\.control_api: warning: without --admin-token-file the admin API binds loopback only, not 0\.0\.0\.0: /,
    );
    expect(await told(`version: 1\nlisten: {port: 8443}\n${pool('h2c://127.0.0.1:1')}`)).toEqual([
      '2:1: listen.tls: must have cert and key, or certificates',
      '1 problem found, judged as files',
      '',
    ]);
    for (const address of ['https://10.0.0.1/x', 'h2c://10.0.0.1:0', 'https://me@db:1', '::1'])
      expect(await told(listen + pool(address))).toEqual([
        `3:60: upstream.a.backends[0].address: must be host, host:port or [IPv6 address]:port, behind https://, h2c:// or no scheme, not "${address}"`,
        '1 problem found, judged as files',
        '',
      ]);
  });

  test('a file of a classic file that is there and cannot be reached is not told to be missing', async () => {
    symlinkSync('circle.pem', join(dir, 'circle.pem'));
    const listen = 'version: 1\nlisten: {tls: {cert: c.pem, key: circle.pem}}\n';
    const { stdout } = await run(
      file('config.yaml', `${listen}upstream: {a: {route: {path_prefix: /}, backends: [{id: a, address: "h2c://127.0.0.1:1"}]}}\n`),
    );
    expect(stdout).toBe(
      `config.yaml:2:10: listen.tls: ${dir}/circle.pem: cannot be read: its symbolic links go round in a circle\n1 problem found, judged as files\n`,
    );
  });

  test('two addresses of a classic file that cannot be used are not told to be the same', async () => {
    const pool = (addresses: readonly string[]): string =>
      `upstream: {a: {route: {path_prefix: /}, backends: [${addresses.map((a, i) => `{id: b${i}${a}}`).join(', ')}]}}\n`;
    const classic = 'version: 1\nlisten: {tls: {cert: c.pem, key: k.pem}}\n';
    const { stdout } = await run(
      file('config.yaml', classic + pool([', address: "http://10.0.0.1"', ', address: "http://10.0.0.2"', '', ''])),
    );
    expect(stdout.split('\n')).toEqual([
      ...[0, 1].map((i) =>
        expect.stringContaining(`: upstream.a.backends[${i}].address: http:// (HTTP/1.1 to backends) is not supported yet`),
      ),
      ...[2, 3].map((i) => expect.stringContaining(`: upstream.a.backends[${i}].address: is required`)),
      '4 problems found, judged as files',
      '',
    ]);
  });

  test('objects that a refused document names are looked for as well; one that was refused itself is there', async () => {
    const secret = (name: string, more: string): string =>
      `apiVersion: v1\nkind: Secret\nmetadata: {name: ${name}}\ntype: kubernetes.io/tls\n${more}---\n`;
    const text = [
      'apiVersion: spooky.dev/v1alpha1',
      'kind: Listener',
      'metadata: {name: public}',
      'spec:',
      '  port: 70000',
      '  tls: {certificateRefs: [{name: here}, {name: broken}, {name: gone}, {name: far, namespace: other}]}',
      '---',
      'apiVersion: spooky.dev/v1alpha1',
      'kind: Upstream',
      'metadata: {name: api, namespace: web}',
      'spec:',
      '  hostnames: ["*"]',
      '  retry: {}',
      '  backends:',
      '    - addresses: [{address: "127.0.0.1:7001"}]',
      '      tls: {caRef: {name: ca}, clientCertificateRef: {name: client}}',
      '',
    ].join('\n');
    const { stdout } = await run(file('named.yaml', secret('here', '') + secret('broken', 'nonsense: 1\n') + text));
    const missing = stdout.split('\n').filter((l) => l.includes('there is no'));
    expect(missing.map((l) => l.replace(/^.*?: /, ''))).toEqual([
      'spec.tls.certificateRefs[2]: there is no Secret default/gone',
      'spec.tls.certificateRefs[3]: there is no Secret other/far',
      'spec.backends[0].tls.caRef: there is no ConfigMap web/ca',
      'spec.backends[0].tls.clientCertificateRef: there is no Secret web/client',
    ]);
  });

  test('a name that is taken is told of documents with other faults, across files', async () => {
    const [first, second] = [file('one.yaml', listener() + upstream('  retry: {}\n')), file('two.yaml', upstream('  mirror: {}\n'))];
    const { stdout } = await run(first, second, file('three.yaml', upstream()));
    expect(stdout.split('\n')).toEqual([
      'one.yaml:16:3: spec.retry: retry is not supported yet',
      'three.yaml:4:12: metadata.name: is written twice: first in one.yaml:12',
      'two.yaml:4:12: metadata.name: is written twice: first in one.yaml:12',
      'two.yaml:8:3: spec.mirror: mirror is not supported yet',
      '4 problems found, judged as files',
      '',
    ]);
  });

  test('a field that is unknown or of later is refused without a value, too', async () => {
    const text = listener().replace('  tls:\n', '  hostnames:\n  tls:\n    clientAuth:\n') + upstream('  auth: ~\n  fooo:\n');
    const settings = '---\napiVersion: spooky.dev/v1alpha1\nkind: Settings\nmetadata:\nspec: {logLevl: , logLevel: }\nextra:\n';
    const { stdout } = await run(file('null.yaml', text + settings));
    expect(stdout.split('\n').map((l) => l.replace(/^null\.yaml:\d+:\d+: /, ''))).toEqual([
      'spec.hostnames: warning: has no value and counts as absent',
      'spec.tls.clientAuth: clientAuth is not supported yet',
      'spec.auth: auth is not supported yet',
      expect.stringMatching(/^spec\.fooo: is unknown/),
      'spec.logLevl: is unknown (did you mean logLevel?)',
      'spec.logLevel: warning: has no value and counts as absent',
      expect.stringMatching(/^extra: is unknown/),
      '5 problems found, judged as files',
      '',
    ]);
    const classic = 'version: 1\nlisten: {addres: , tls: {cert: c.pem, key: k.pem}}\nresilience:\nsecurty:\n';
    const pool = 'upstream: {a: {route: {path_prefix: /}, backends: [{id: a, address: "h2c://127.0.0.1:1", wieght: }]}}\n';
    expect((await run(file('config.yaml', classic + pool))).stdout.split('\n')).toEqual([
      'config.yaml:2:10: listen.addres: is unknown (did you mean address?)',
      expect.stringMatching(/^config\.yaml:4:1: securty: is unknown \(did you mean security\?\)/),
      expect.stringMatching(/^config\.yaml:5:\d+: upstream\.a\.backends\[0\]\.wieght: is unknown \(did you mean weight\?\)/),
      '3 problems found, judged as files',
      '',
    ]);
  });

  test('two thousand fields without a value do not hide the one that matters', async () => {
    const items = Array.from({ length: 2000 }, () => '    - path:\n      methods: [GET]\n').join('');
    const { stdout } = await run(file('many.yaml', listener() + upstream(`  matches:\n${items}  auth:\n`)));
    expect(stdout).toContain(': spec.auth: auth is not supported yet\n');
    expect(stdout.split('\n').length).toBeLessThan(1100);
  });

  test('warnings alone leave 0', async () => {
    const { code, stdout } = await run(file('warn.yaml', listener() + upstream('  matches:\n')));
    expect([code, stdout.split('\n')[0]]).toEqual([0, 'warn.yaml:16:3: spec.matches: warning: has no value and counts as absent']);
  });

  test('json for programs', async () => {
    const { code, stdout } = await run('--output', 'json', file('bad2.yaml', listener() + upstream('  retry: {}\n')));
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toEqual({
      problems: [
        {
          severity: 'error',
          file: 'bad2.yaml',
          line: 16,
          column: 3,
          object: 'Upstream default/api',
          path: 'spec.retry',
          message: 'retry is not supported yet',
        },
      ],
      objects: { listeners: 1, upstreams: 0, secrets: 0, configMaps: 0 },
      judgedAs: 'files',
    });
  });

  test('several paths are one state', async () => {
    const { code, stdout } = await run(file('one.yaml', listener()), file('two.yaml', listener() + upstream()));
    expect([code, stdout]).toEqual([
      1,
      'two.yaml:3:12: metadata.name: is written twice: first in one.yaml:3\n1 problem found, judged as files\n',
    ]);
  });

  test('a path that is not there is a problem', async () => {
    expect(await run('nowhere.yaml')).toEqual({
      code: 1,
      stdout: 'nowhere.yaml: cannot be read: no such file or directory\n1 problem found, judged as files\n',
      stderr: '',
    });
  });

  test.each([
    [[]],
    [['--output', 'xml', 'good.yaml']],
    [['good.yaml', '']],
    [['--outptu', 'json', 'good.yaml']],
    [['--kubernetes', '--standalone', 'good.yaml']],
  ])('2 for %j', async (args) => {
    const { code, stdout, stderr } = await run(...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain('usage: spooky check PATH... [--kubernetes|--standalone] [--output text|json]');
  });

  test('what a file holds never drives a terminal', async () => {
    const name = 'evil\u001b[31m.yaml';
    const { stdout } = await run(file(name, 'kind: "\\e[2J"\napiVersion: v1\n"a\\e[31m": 1\n'));
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toContain('evil\\x1b[31m.yaml:1:1: kind: ');
  });

  test('keys are never printed', async () => {
    const marker = 'canary-7f3a';
    const secret = `apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: "${marker}!"}\nstringData: {b: ${marker}, c: [${marker}], "${'d'}": {x: ${marker}}}\n`;
    for (const output of ['text', 'json']) {
      const { code, stdout, stderr } = await run('--output', output, file('secret.yaml', secret));
      expect(code).toBe(1);
      expect(stdout + stderr).not.toContain(marker);
    }
  });
});
