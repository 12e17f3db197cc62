import { describe, expect, test } from '@jest/globals';
import { quicgo, type DriverClient } from '../kit/clients.ts';
import { operations } from './operations.ts';
import { scenarios } from './scenarios.ts';
import { ADDRESSES, HOSTS } from './world.ts';

const subject = scenarios('quic-go', quicgo);
operations('quic-go', quicgo);

describe('quic-go: connections', () => {
  const driver = (): DriverClient['driver'] => (subject().client as DriverClient).driver;

  test.each(ADDRESSES)('to %s', async (address) => {
    const { world } = subject();
    const host = address.includes(':') ? `[${address}]` : address;
    const connection = await driver().open({ ...world.dial(HOSTS.go), address: `${host}:${world.ports.open}` });
    const seen = JSON.parse((await connection.request({ authority: HOSTS.go, path: '/whoami' })).text) as {
      headers: Record<string, string[]>;
    };
    expect(seen.headers['X-Forwarded-For']).toEqual([address]);
    await connection.close();
  });

  test('a session is resumed by its ticket, and early data is refused', async () => {
    const { world } = subject();
    const dial = { ...world.dial(HOSTS.go), resume: true, early: true };
    const first = await driver().open(dial);
    expect(first.resumed).toBe(false);
    expect((await first.request({ authority: HOSTS.go, path: '/bytes/10' })).status).toBe(200);
    await first.close();
    const second = await driver().open(dial);
    expect(second.resumed).toBe(true);
    expect(second.early).toBe(false);
    expect((await second.request({ authority: HOSTS.go, path: '/bytes/10' })).status).toBe(200);
    await second.close();
  });

  test('another protocol than h3 is refused in the handshake', async () => {
    const { world } = subject();
    const failed = await driver()
      .open({ ...world.dial(HOSTS.go), alpn: ['hq-interop'] })
      .catch((cause: unknown) => cause);
    expect(failed).toMatchObject({ failure: { kind: 'transport', code: 0x178 } }); // TLS alert 120, no_application_protocol
  });
});
