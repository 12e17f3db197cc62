/** By which port and addresses clients reach a Listener in a cluster, and whether they can. */
import { isIP } from 'node:net';
import type { Listener, Service, ServicePort } from '../../contract/resources/index.ts';
import type { Cluster } from './cluster.ts';
import type { PublishedAddress } from './compiled.ts';

export interface Publication {
  readonly advertisedPort: number;
  readonly addresses: readonly PublishedAddress[];
  /** Why clients do not reach it; null where they do. */
  readonly fault: string | null;
  /** The Listener may not have its port at all. */
  readonly refused: boolean;
}

/** What the status holds. */
const MAX_ADDRESSES = 256;

export const published = (spec: Listener): Publication => ({
  advertisedPort: spec.advertisedPort ?? spec.port,
  addresses: [],
  fault: null,
  refused: false,
});

export function publish(cluster: Cluster, spec: Listener): Publication {
  const { ports, reservedPorts, publishService } = cluster.installation;
  const plain = published(spec);
  if (reservedPorts.has(spec.port))
    return { ...plain, refused: true, fault: `port ${spec.port} is the installation's own, for metrics or administration: take another` };
  if (ports !== null && !ports.has(spec.port))
    return { ...plain, refused: true, fault: `port ${spec.port} is not among the installation's ports: ${remedy(spec)}` };
  if (publishService === null) return { ...plain, addresses: addressesOf(cluster, spec, null) };
  const where = `Service ${publishService.namespace}/${publishService.name}`;
  const service = cluster.service(publishService.namespace, publishService.name);
  if (service === undefined) return { ...plain, fault: `there is no ${where}, which --publish-service names` };
  const port = service.ports.find((p) => p.protocol === 'UDP' && p.targetPort === spec.port);
  if (port === undefined) return { ...plain, fault: `${where} maps no UDP port to ${spec.port}: ${remedy(spec)}` };
  return {
    ...plain,
    advertisedPort: spec.advertisedPort ?? (service.type === 'NodePort' && port.nodePort > 0 ? port.nodePort : port.port),
    addresses: addressesOf(cluster, spec, { service, port }),
  };
}

const remedy = (spec: Listener): string =>
  `add to the chart's values, beside the ports that are there, ports: [{name: http3-${spec.port}, port: ${spec.advertisedPort ?? spec.port}, targetPort: ${spec.port}}]`;

interface Mapped {
  readonly service: Service;
  readonly port: ServicePort;
}

/** Those given by hand, else the Service's, else the nodes'. Each kind is reached by its own port: a load balancer does not answer on node ports. */
function addressesOf({ installation, objects }: Cluster, spec: Listener, mapped: Mapped | null): PublishedAddress[] {
  const nodePort = mapped === null ? spec.port : mapped.port.nodePort > 0 ? mapped.port.nodePort : mapped.port.port;
  const servicePort = mapped === null ? spec.port : mapped.port.port;
  const byHand = mapped?.service.type === 'NodePort' ? nodePort : servicePort;
  const at = (values: readonly string[], port: number): PublishedAddress[] =>
    [...new Set(values)]
      .slice(0, MAX_ADDRESSES)
      .map((value) => ({ type: isIP(value) === 0 ? 'Hostname' : 'IPAddress', value, port: spec.advertisedPort ?? port }));
  if (installation.publishAddresses.length > 0) return at(installation.publishAddresses, byHand);
  const ofService = mapped?.service.addresses ?? [];
  if (ofService.length > 0) return at(ofService, servicePort);
  return installation.publishNodeAddresses ? at([...objects.nodeAddresses].sort(), nodePort) : [];
}
