/** The suite that keeps the fake API server true, against a real one of the newest release. */
import { startApi } from '../api.ts';

const api = await startApi();
process.env['SPOOKY_APISERVER_KUBECONFIG'] = api.kubeconfig;
// It looks for the variable when it is read, and brings its own tests.
await import('../../control/sources/kubernetes/contract/contract.test.ts');
