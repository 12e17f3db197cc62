/** Random operations, one by one on the fake and on a real server of the newest release. */
import { startApi } from '../api.ts';

const api = await startApi();
process.env['SPOOKY_APISERVER_KUBECONFIG'] = api.kubeconfig;
// It looks for the variable when it is read, and brings its own tests.
await import('../../control/sources/kubernetes/contract/model.test.ts');
