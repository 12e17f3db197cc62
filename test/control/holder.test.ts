import { describe, expect, test } from '@jest/globals';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { holderOf, inodesOfPort } from '../../src/control/holder.ts';

const TABLE = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  12: 0100007F:20FB 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 0000000000000000 0
  13: 0100007F:20FB 0100007F:1111 01 00000000:00000000 00:00000000 00000000     0        0 4243 2 0000000000000000 0
  14: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4244 2 0000000000000000 0
  15: 00000000:20FB 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 0 2 0000000000000000 0
`;

describe('the kernel’s table', () => {
  test.each([
    [8443, false, ['4242', '4243']],
    [80, false, ['4244']],
    [80, true, ['4244']],
    [8443, true, []],
    [443, false, []],
  ])('port %i, listening only: %s', (port, listening, inodes) => expect(inodesOfPort(TABLE, port, listening)).toEqual(inodes));

  test('nonsense holds nothing', () => {
    for (const text of ['', '\n\n', 'a b c', TABLE.slice(0, 150)]) expect(inodesOfPort(text, 1, false)).toEqual([]);
  });
});

describe('the holder', () => {
  test('of a UDP port is the process that bound it', async () => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    expect(await holderOf('udp', socket.address().port)).toContain(`process ${process.pid} (`);
    socket.close();
  });

  test('of a TCP port is the process that listens, over IPv6 too', async () => {
    const server = createServer();
    server.listen(0, '::1');
    await once(server, 'listening');
    expect(await holderOf('tcp', (server.address() as AddressInfo).port)).toContain(`process ${process.pid} (`);
    server.close();
  });

  test('of a free port is nobody', async () => {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const { port } = socket.address();
    socket.close();
    await once(socket, 'close');
    expect(await holderOf('udp', port)).toBeNull();
  });
});
