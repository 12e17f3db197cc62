/** Statuses, events and leases against a real server of the newest release. */
import { startApi } from '../api.ts';

const api = await startApi();
process.env['SPOOKY_APISERVER_KUBECONFIG'] = api.kubeconfig;
// It looks for the variable when it is read, and brings its own tests.
await import('../../control/sources/kubernetes/reporting.test.ts');
