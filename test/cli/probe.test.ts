import { describe, expect, test } from '@jest/globals';
import { askEach, handshakeHint, probe, readResolve, readTarget } from '../../src/cli/probe.ts';
import { H3ClientError, type H3Response } from '../../src/edge/http/h3/client.ts';
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

describe('a name with several addresses', () => {
  const answered = { status: 204 } as H3Response;
  const silent = new HandshakeError('timeout', false, 0, 'no handshake in time');

  async function asked(addresses: readonly string[], outcomes: Readonly<Record<string, H3Response | Error>>): Promise<unknown> {
    const [tried, said]: [string[], string[]] = [[], []];
    const get = (address: string, { handshakeMs }: { handshakeMs: number }): Promise<H3Response> => {
      tried.push(`${address} for ${handshakeMs} ms`);
      const outcome = outcomes[address] as H3Response | Error;
      return outcome instanceof Error ? Promise.reject(outcome) : Promise.resolve(outcome);
    };
    const answer = await askEach(addresses, 443, get, { stderr: (text) => void said.push(text) });
    return { tried, said, answer: answer?.address ?? null };
  }

  test('is asked at the next one where nobody answers, or where there is no way', async () => {
    const outcomes = { '2001:db8::1': silent, '2001:db8::2': new Error('ENETUNREACH'), '192.0.2.1': answered };
    expect(await asked(['2001:db8::1', '2001:db8::2', '192.0.2.1'], outcomes)).toEqual({
      tried: ['2001:db8::1 for 3000 ms', '2001:db8::2 for 3000 ms', '192.0.2.1 for 10000 ms'],
      said: [
        'spooky probe: [2001:db8::1]:443: no handshake in time; trying [2001:db8::2]:443\n',
        'spooky probe: [2001:db8::2]:443: ENETUNREACH; trying 192.0.2.1:443\n',
      ],
      answer: '192.0.2.1',
    });
  });

  test('is not asked elsewhere when somebody is there and gives no answer', async () => {
    const late = new H3ClientError('response', 'no answer in time');
    const { tried } = (await asked(['192.0.2.1', '192.0.2.2'], { '192.0.2.1': late, '192.0.2.2': answered })) as { tried: string[] };
    expect(tried).toEqual(['192.0.2.1 for 3000 ms']);
  });

  test('nor when the handshake fails', async () => {
    const refused = new HandshakeError('local', false, 0x130, 'handshake failed');
    expect(await asked(['192.0.2.1', '192.0.2.2'], { '192.0.2.1': refused, '192.0.2.2': answered })).toEqual({
      tried: ['192.0.2.1 for 3000 ms'],
      said: [
        expect.stringMatching(
          /^spooky probe: 192\.0\.2\.1:443: handshake failed: the certificate is from an authority that is not trusted/,
        ),
      ],
      answer: null,
    });
  });

  test('and one that nobody answers at is told as such', async () => {
    expect(await asked(['192.0.2.1'], { '192.0.2.1': silent })).toEqual({
      tried: ['192.0.2.1 for 10000 ms'],
      said: [expect.stringMatching(/no handshake in time: nothing answers there over UDP/)],
      answer: null,
    });
  });
});
