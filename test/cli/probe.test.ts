import { describe, expect, test } from '@jest/globals';
import { handshakeHint, probe, readResolve, readTarget } from '../../src/cli/probe.ts';
import { HandshakeError } from '../../src/edge/quic/failure.ts';

const target = (url: string, resolve: string | null = null) => {
  const read = readTarget(url, resolve);
  return read.ok
    ? { host: read.value.host, port: read.value.port, address: read.value.address, path: read.value.url.pathname + read.value.url.search }
    : read.error;
};

describe('the URL', () => {
  test.each([
    ['https://www.example.com', { host: 'www.example.com', port: 443, address: null, path: '/' }],
    ['www.example.com:8443/a?b=c', { host: 'www.example.com', port: 8443, address: null, path: '/a?b=c' }],
    ['https://[2001:db8::1]:8443/', { host: '2001:db8::1', port: 8443, address: null, path: '/' }],
    ['https://WWW.Example.com./', { host: 'www.example.com.', port: 443, address: null, path: '/' }],
  ])('%s', (url, expected) => expect(target(url)).toEqual(expected));

  test.each([
    ['http://a.example', 'HTTP/3 needs https://'],
    ['ftp://a.example', 'HTTP/3 needs https://'],
    ['https://user:secret@a.example/', 'a URL with a user name is not probed'],
    ['https://', '"https://" is not a URL'],
  ])('%s is refused', (url, error) => expect(target(url)).toBe(error));
});

describe('--resolve', () => {
  test.each([
    ['a.example:443:127.0.0.1', { host: 'a.example', port: 443, address: '127.0.0.1' }],
    ['A.example:8443:[::1]', { host: 'a.example', port: 8443, address: '::1' }],
    ['a.example:8443:::1', { host: 'a.example', port: 8443, address: '::1' }],
    ['[::1]:8443:127.0.0.1', { host: '::1', port: 8443, address: '127.0.0.1' }],
  ])('%s', (text, value) => expect(readResolve(text)).toEqual({ ok: true, value }));

  test.each(['', 'a', 'a:1', 'a:0:127.0.0.1', 'a:99999:127.0.0.1', 'a:443:b.example', 'a:443:', ':443:127.0.0.1'])(
    '%j is refused',
    (text) => expect(readResolve(text).ok).toBe(false),
  );

  test('counts for its own host and port only', () => {
    const resolve = 'a.example:443:127.0.0.1';
    expect(target('https://a.example/', resolve)).toMatchObject({ address: '127.0.0.1' });
    expect(target('https://b.example/', resolve)).toMatchObject({ address: null });
    expect(target('https://a.example:444/', resolve)).toMatchObject({ address: null });
  });
});

test.each([
  [[]],
  [['https://a.example', 'https://b.example']],
  [['https://a.example', '--insecure', '--ca', 'x']],
  [['https://a.example', '--ca', '/nowhere.pem']],
  [['https://a.example', '--what']],
])('probe %j is a usage error', async (args) => {
  let said = '';
  const io = { stdout: () => {}, stderr: (text: string) => void (said += text), env: {}, cwd: '/' };
  expect(await probe.run(args, io)).toBe(2);
  expect(said).toContain('usage: spooky probe');
});

describe('a handshake that failed', () => {
  const hint = (side: 'local' | 'remote', app: boolean, code: number): string => handshakeHint(new HandshakeError(side, app, code, 'x'));
  test.each([
    [0x12a, /^: the certificate does not fit this host/],
    [0x12d, /^: the certificate has expired/],
    [0x130, /^: the certificate is from an authority that is not trusted: .*--ca.*--insecure/],
  ])('says what to do: 0x%s', (code, text) => expect(hint('local', false, code)).toMatch(text));

  test('and of one that nobody answered, too', () => {
    expect(handshakeHint(new HandshakeError('timeout', false, 0, 'x'))).toMatch(/^: nothing answers there over UDP; .*open for UDP\?$/);
  });

  test('and says nothing of what the other side ended', () => {
    expect([hint('remote', false, 0x130), hint('local', true, 0x130), hint('local', false, 0x102), handshakeHint(new Error('x'))]).toEqual([
      '',
      '',
      '',
      '',
    ]);
  });
});
