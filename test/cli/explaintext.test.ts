import { expect, test } from '@jest/globals';
import { explainListener } from '../../src/cli/explaintext.ts';
import { grant, listener, listenerPart, port, run, service, upstream } from '../control/compile/world.ts';

test('groups of Services are told by Service and port', () => {
  const backends = [
    { name: 'named', weight: 2, service: { name: 'api', port: 80 } },
    { name: 'single', service: { name: 'one', namespace: 'shop', port: 8080 } },
    { name: 'gone', service: { name: 'gone', port: 'http' } },
  ];
  const services = [service(), service('one', 'shop', [port({ name: '', port: 8080, appProtocol: 'https' })])];
  const c = run([listener(), upstream({ backends })], { services, grants: [grant('shop', 'Upstream', 'web', 'Service')] });
  const asked = {
    method: 'GET',
    url: 'https://api.example/',
    host: 'api.example',
    port: 443,
    target: '/',
    names: [],
    values: [],
    from: null,
  };
  const lines = explainListener(c, listenerPart(c), asked, { path: '/', query: '', hasQuery: false });
  expect(lines.slice(lines.indexOf('  backends') + 1)).toEqual([
    '    named, weight 2 (50 %), H2C',
    '      Service web/api, port http',
    '    single, weight 1 (25 %), H2, verified',
    '      Service shop/one',
    '    gone, weight 1 (25 %): answers 500, a reference of it does not hold',
  ]);
});
