/** What to do when Listeners and Upstreams cannot be read. */
import type { ApiErrorKind } from '../../control/sources/kubernetes/api.ts';

/** '' where the message says it. */
export function remedyFor(kind: ApiErrorKind | null): string {
  switch (kind) {
    case 'connection':
    case 'timeout':
      return '; is this the right cluster (--kubeconfig, --context), and can it be reached from here?';
    case 'unauthorized':
      return '; the credentials of the kubeconfig are not (or no longer) valid';
    case 'not_found':
      return '; the CRDs of spooky.dev are not installed: the chart installs them (crds.enabled), or kubectl apply --server-side -f crds/';
    case 'forbidden':
      return '; the chart gives list and watch of both kinds to whoever may view a namespace; --namespaces asks for some of them only';
    default:
      return '';
  }
}
