import type { NetworkInterfaceInfo } from 'node:os';
import { describe, expect, test } from '@jest/globals';
import { interfaceAddresses, networkOf, podOf } from '../../../src/cli/serve/installation.ts';

const of = (env: Record<string, string>, interfaces: readonly string[] = []) => podOf(env, 'edge', 'host-1', interfaces);

describe('who a process is', () => {
  test('as the chart says', () => {
    const env = {
      POD_NAME: 'spooky-x',
      POD_NAMESPACE: 'web',
      POD_UID: 'u-1',
      POD_ZONE: 'z',
      POD_IPS: '10.1.2.3,2001:db8::3',
      HOST_IPS: '192.0.2.7',
    };
    expect(of(env)).toEqual({
      name: 'spooky-x',
      namespace: 'web',
      uid: 'u-1',
      zone: 'z',
      addresses: ['10.1.2.3', '2001:db8::3', '192.0.2.7'],
      knowsNode: true,
    });
  });

  test('where the environment says nothing, or empty texts: the host’s name, the namespace of the credentials, no uid', () => {
    const nobody = { name: 'host-1', namespace: 'edge', uid: '', zone: '', addresses: [], knowsNode: false };
    expect(of({})).toEqual(nobody);
    expect(of({ POD_NAME: '', POD_NAMESPACE: '', POD_UID: '', POD_ZONE: '', POD_IPS: '', HOST_IPS: '' })).toEqual(nobody);
  });
});

describe('K5: addresses that no backend may have', () => {
  test('spaces and what is no address change nothing', () => {
    const { addresses, knowsNode } = of({ POD_IPS: ' 10.1.2.3 , nonsense,,0.0.0.0/0', HOST_IPS: 'none' });
    expect([addresses, knowsNode]).toEqual([['10.1.2.3'], false]);
  });

  test('those of the interfaces are among them: without POD_IPS, and of a node that has more than the API knows of', () => {
    expect(of({}, ['10.1.2.3']).addresses).toEqual(['10.1.2.3']);
    expect(of({ POD_IPS: '192.0.2.7', HOST_IPS: '192.0.2.7' }, ['192.0.2.7', '203.0.113.9']).addresses).toEqual([
      '192.0.2.7',
      '203.0.113.9',
    ]);
  });

  test('of an interface the address counts, without its zone', () => {
    const one = (address: string): NetworkInterfaceInfo => ({ address }) as NetworkInterfaceInfo;
    expect(interfaceAddresses({ eth0: [one('10.1.2.3'), one('fe80::1%eth0')], lo: [one('127.0.0.1')], gone: undefined })).toEqual([
      '10.1.2.3',
      'fe80::1',
      '127.0.0.1',
    ]);
  });

  test('each is a network of its own', () => {
    expect([networkOf('10.1.2.3'), networkOf('2001:db8::3')]).toEqual(['10.1.2.3/32', '2001:db8::3/128']);
  });
});
