/** Are the CRDs of the cluster those of this version? A server prunes what its CRD does not know: an old one loses fields without a word. */
import type { KubeApi } from '../../control/sources/kubernetes/api.ts';
import type { Log } from '../../lib/log.ts';
import { crdHashes, HASH_ANNOTATION } from '../generate/crds.ts';

const PATH = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const HOW = 'helm upgrade with crds.enabled, or kubectl apply --server-side of the crds/ of this version';

export const checkSchemas = async (api: KubeApi, log: Log): Promise<void> => {
  for (const [name, wanted] of crdHashes()) {
    const answer = await api.request({ method: 'GET', path: `${PATH}/${name}` });
    if (!answer.ok) {
      // That it is missing is what its watch says; without permission there is nothing to compare.
      if (answer.error.kind !== 'not_found') log.info('CRD not compared', { crd: name, why: answer.error.message });
      continue;
    }
    const found = annotationOf(answer.body);
    if (found !== wanted)
      log.warn('the CRD of the cluster is of another version: fields that it does not know are dropped by the server', {
        crd: name,
        found,
        wanted,
        todo: HOW,
      });
  }
};

function annotationOf(body: unknown): string {
  const { metadata } = body as { metadata?: { annotations?: Record<string, unknown> } };
  const value = metadata?.annotations?.[HASH_ANNOTATION];
  return typeof value === 'string' ? value.slice(0, 64) : 'none';
}
