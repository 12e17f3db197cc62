import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { explain } from '../../src/cli/explain.ts';
import { gateway, type Gateway } from '../kit/documents.ts';
import { makeCertificate } from '../kit/x509.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'explain-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(...args: string[]): Promise<Outcome> {
  let [out, err] = ['', ''];
  const code = await explain.run(args, { stdout: (t) => void (out += t), stderr: (t) => void (err += t), env: {}, cwd: dir });
  return { code, out, err };
}

function write(name: string, g: Gateway): string {
  writeFileSync(join(dir, name), g.yaml());
  return name;
}

const site = makeCertificate({ names: ['*.example'] });
const base = (spec = {}): Gateway => gateway({ advertisedPort: 443, ...spec }).certificate(site);

test('the winner with its backends, and why each of the others lost', async () => {
  const config = write(
    'whole.yaml',
    base({ forwarded: { trust: ['198.51.100.0/24'] } })
      .host('api.example')
      .route('/v1', { methods: ['GET'] })
      .with({ loadBalancing: { type: 'ConsistentHash', consistentHash: { key: { type: 'SourceAddress' } } } })
      .split(
        { name: 'old', address: '127.0.0.1:1', weight: 9 },
        { name: 'new', address: ['Db.internal:3', '[::1]:4'], spec: { protocol: 'H2' } },
      )
      .host('*.example')
      .route('=/v1/a')
      .to('127.0.0.1:9')
      .host('api.example')
      .route('/')
      .to('127.0.0.1:5')
      .route('/v1', { headers: [{ name: 'x-beta', value: '1' }], query: [{ name: 'q', value: '2' }] })
      .to('127.0.0.1:6')
      .host('other.example')
      .route('/v1')
      .to('127.0.0.1:7'),
  );
  const { code, out, err } = await run(
    '--config',
    config,
    'GET',
    'https://API.example./v1/./%61?q=1#top',
    '-H',
    'X-Beta: 2',
    '--from',
    '198.51.100.7',
  );
  expect(err).toBe('');
  expect(code).toBe(0);
  expect(out).toBe(
    [
      'GET https://API.example./v1/./%61?q=1#top',
      '',
      'Listener default/public, port 8443 (reached at 443), 127.0.0.1',
      '  certificate default/tls-1 (ECDSA), by name',
      '  path        matched and forwarded as /v1/a?q=1',
      '  client      198.51.100.7 is trusted: its x-forwarded-* fields are kept and appended to',
      '  goes to     Upstream default/r1: api.example /v1, GET (matches[0])',
      '  balancing   ConsistentHash by SourceAddress (198.51.100.7)',
      '  backends',
      '    old, weight 9 (90 %), H2C',
      '      127.0.0.1:1, weight 100',
      '    new, weight 1 (10 %), H2, verified',
      '      db.internal:3, weight 100',
      '      [::1]:4, weight 100',
      '',
      '  The others:',
      '    Upstream default/r3: api.example / (matches[0])',
      '      would take it, but the other path is longer',
      '    Upstream default/r2: *.example Exact /v1/a (matches[0])',
      '      would take it, but the other hostname is more specific',
      '    Upstream default/r4: api.example /v1, header x-beta=1, query q=2 (matches[0])',
      '      does not take it: header x-beta has another value',
      '',
    ].join('\n'),
  );
});

describe('answers of our own', () => {
  test('no route: which names there are', async () => {
    const config = write(
      'names.yaml',
      base({ hostnames: ['*.example'] })
        .host('a.example')
        .route('/a')
        .to('127.0.0.1:1'),
    );
    expect((await run('--config', config, 'GET', 'https://x.test/')).out).toContain('  answers 404: the Listener serves only *.example\n');
    expect((await run('--config', config, 'GET', 'https://b.example/')).out).toContain(
      '  answers 404: no Upstream here has a hostname for b.example\n',
    );
    const { out } = await run('--config', config, 'GET', 'https://a.example/b', '--from', '203.0.113.1');
    expect(out).toContain('  answers 404: no match of the Upstreams for this host takes the request\n');
    expect(out).toContain('      does not take it: the path is not under /a\n');
    expect(out).toContain('203.0.113.1 is not trusted: its x-forwarded-* fields are replaced');
  });

  test('fields that are dropped before matching: only of a trusted client may they choose a route', async () => {
    const config = write(
      'fields.yaml',
      base({ forwarded: { trust: ['198.51.100.0/24'] } })
        .route('/', { headers: [{ name: 'x-forwarded-proto', value: 'http' }] })
        .to('127.0.0.1:1'),
    );
    const asks = ['--config', config, 'GET', 'https://a.example/', '-H', 'X-Forwarded-Proto: http', '-H', 'x-other: 1'];
    for (const from of [[], ['--from', '203.0.113.1']]) {
      const { out } = await run(...asks, ...from);
      expect(out).toContain('  fields      dropped before matching: x-forwarded-proto\n');
      expect(out).toContain('      does not take it: there is no header x-forwarded-proto\n');
    }
    const { out } = await run(...asks, '--from', '198.51.100.7');
    expect(out).not.toContain('dropped before matching');
    expect(out).toContain('  goes to     Upstream');
  });

  test('refused paths and methods', async () => {
    const config = write('paths.yaml', base().route('/').to('127.0.0.1:1'));
    expect((await run('--config', config, 'GET', 'https://a.example/a%2Fb')).out).toContain(
      '  answers 400: the path has an escaped slash or backslash, and the Listener does not keep them (path.escapedSlashes)\n',
    );
    expect((await run('--config', config, 'GET', 'https://a.example/%00')).out).toContain('  answers 400: the path has an escaped NUL\n');
    expect((await run('--config', config, 'GET', 'https://a.example/%zz')).out).toContain('  answers 400: the path is malformed\n');
    expect((await run('--config', config, 'CONNECT', 'https://a.example/')).out).toContain('  answers 501: CONNECT is not supported\n');
  });

  test('a group whose reference does not hold, and a name without a certificate', async () => {
    const config = write(
      'broken.yaml',
      base({ tls: { certificateRefs: [], unmatched: 'Reject' } })
        .host('*')
        .route('/')
        .with({ protocol: 'H2', tls: { caRef: { name: 'gone' } } })
        .to('127.0.0.1:1'),
    );
    const { code, out, err } = await run('--config', config, 'GET', 'https://a.test/');
    expect(code).toBe(0);
    expect(out).toContain('  certificate none for a.test: the handshake is refused\n');
    expect(out).toContain('    default, weight 1 (100 %): answers 500, a reference of it does not hold\n');
    expect(err).toMatch(/^spooky explain: broken.yaml:[0-9]+: there is no ConfigMap default\/gone; `spooky check` shows all/);
  });
});

test('the port of the URL chooses the Listener', async () => {
  const second = {
    apiVersion: 'spooky.dev/v1alpha1',
    kind: 'Listener',
    metadata: { name: 'second' },
    spec: { port: 9443, tls: { certificateRefs: [{ name: 'tls-1' }] } },
  };
  const config = write('ports.yaml', base().add(second).route('/').to('127.0.0.1:1'));
  const listeners = (out: string): string[] => out.match(/^Listener \S+\/\w+/gm) ?? [];
  expect(listeners((await run('--config', config, 'GET', 'https://a.example/')).out)).toEqual(['Listener default/public']);
  expect(listeners((await run('--config', config, 'GET', 'https://a.example:8443/')).out)).toEqual(['Listener default/public']);
  expect(listeners((await run('--config', config, 'GET', 'https://a.example:9443/')).out)).toEqual(['Listener default/second']);
  const { out } = await run('--config', config, 'GET', 'https://a.example:1/');
  expect(listeners(out)).toEqual(['Listener default/public', 'Listener default/second']);
  expect(out).toContain('No Listener is reached at port 1; this is what each of them would do.\n');
});

test('headers: crumbs are one cookie, names fold, what the edge drops is not matched', async () => {
  const config = write(
    'headers.yaml',
    base()
      .route('/', { headers: [{ name: 'cookie', value: 'a=1; b=2' }] })
      .named('cookie')
      .to('127.0.0.1:1'),
  );
  expect((await run('--config', config, 'GET', 'https://a.example', '-H', 'Cookie: a=1', '-H', 'COOKIE:b=2')).out).toContain(
    'goes to     Upstream default/cookie',
  );
  expect((await run('--config', config, 'GET', 'https://a.example', '-H', 'x_y: 1')).out).toContain('there is no header cookie');
});

describe('usage', () => {
  test.each<[string, string[], string]>([
    ['both', ['--kubernetes', '--config', 'x', 'GET', 'https://a/'], '--config and --kubernetes exclude each other'],
    ['no URL', ['--config', 'x', 'GET'], 'needs a METHOD and a URL'],
    ['too many', ['--config', 'x', 'GET', 'https://a/', 'https://b/'], 'needs a METHOD and a URL'],
    ['no config', ['GET', 'https://a/'], 'needs --config, a file or a directory, or --kubernetes'],
    ['an empty config', ['--config', '', 'GET', 'https://a/'], 'needs --config, a file or a directory, or --kubernetes'],
    ['http', ['--config', 'x', 'GET', 'http://a/'], 'the URL must begin with https://'],
    ['a method that is none', ['--config', 'x', 'G ET', 'https://a/'], '"G ET" is not a method'],
    ['userinfo', ['--config', 'x', 'GET', 'https://u@a/'], '"u@a" is not a host, or a host and a port, that is served'],
    ['a header that is none', ['--config', 'x', 'GET', 'https://a/', '-H', 'nothing'], '-H must be \'name: value\', not "nothing"'],
    ['the host as a header', ['--config', 'x', 'GET', 'https://a/', '-H', 'Host: b'], 'the host is part of the URL'],
    ['an address that is none', ['--config', 'x', 'GET', 'https://a/', '--from', 'b'], '--from must be an IP address, not "b"'],
  ])('%s', async (_title, args, message) => {
    const { code, out, err } = await run(...args);
    expect(err.split('\n')[0]).toBe(`spooky explain: ${message}`);
    expect(out).toBe('');
    expect(code).toBe(2);
  });

  test('nothing to explain', async () => {
    writeFileSync(join(dir, 'empty.yaml'), '');
    const { code, err } = await run('--config', 'empty.yaml', 'GET', 'https://a/');
    expect(code).toBe(1);
    expect(err).toContain('there is no Listener that can be used\n');
    expect((await run('--config', 'none.yaml', 'GET', 'https://a/')).code).toBe(1);
  });
});

test('whether serve starts with what is wrong: not with a field that is unknown, but with a conflict, and with a group that does not resolve', async () => {
  const two = base().host('a.example').route('/').named('a').to('127.0.0.1:1').route('/').named('b').to('127.0.0.1:2');
  const said = async (name: string, g: Gateway): Promise<string> =>
    (await run('--config', write(name, g), 'GET', 'https://a.example/')).err.replace(/^.*shows all, /s, '');
  const started = '`serve` starts with them all the same\n';
  expect(await said('conflict.yaml', two)).toBe(started);
  const tls = { protocol: 'H2', tls: { caRef: { name: 'gone' } } };
  expect(await said('unresolved.yaml', base().host('a.example').route('/').with(tls).to('127.0.0.1:1'))).toBe(started);
  expect(await said('unknown.yaml', base().host('a.example').route('/').with({ weigth: 1 }).to('127.0.0.1:1'))).toBe(
    '`serve` would not start with them\n',
  );
});
