/** Services as backends: which one a group means, by which of its ports, and what that port speaks. */
import type { Service, ServicePort, UpstreamBackend } from '../../contract/resources/index.ts';
import { lowerAscii } from '../../contract/routes/host.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import type { Cluster } from './cluster.ts';
import type { GroupService } from './compiled.ts';
import type { RefFault } from './draft.ts';

type ServiceRef = NonNullable<UpstreamBackend['service']>;

export interface ServiceTarget {
  readonly service: GroupService;
  /** '' when the port does not say. */
  readonly appProtocol: string;
  /** The port, for messages. */
  readonly text: string;
}

export interface ServiceFault {
  /** Below `service`; '' for the whole. */
  readonly at: '' | '.port';
  readonly fault: RefFault;
}

const PROTOCOLS: ReadonlyMap<string, 'H2C' | 'H2'> = new Map([
  ['kubernetes.io/h2c', 'H2C'],
  ['grpc', 'H2C'],
  ['http2', 'H2C'],
  ['https', 'H2'],
]);

/** Undefined: not one that backends of ours speak. */
export const protocolOf = (appProtocol: string): 'H2C' | 'H2' | undefined => PROTOCOLS.get(lowerAscii(appProtocol));

export const knownProtocols = (): string => [...PROTOCOLS.keys()].join(', ');

const invalid = (message: string, at: ServiceFault['at'] = ''): Result<never, ServiceFault> =>
  err({ at, fault: { reason: 'InvalidBackend', message } });

export function targetOf(cluster: Cluster, from: string, ref: ServiceRef): Result<ServiceTarget, ServiceFault> {
  const namespace = ref.namespace ?? from;
  const where = `Service ${namespace}/${ref.name}`;
  const found = cluster.follow('Upstream', from, { kind: 'Service', namespace, name: ref.name }, cluster.service(namespace, ref.name));
  if (!found.ok) return err({ at: '', fault: found.error });
  const service = found.value;
  if (service === undefined) return invalid(`there is no ${where}`);
  if (service.type === 'ExternalName')
    return invalid(
      `${where} is of type ExternalName, which is not followed: it can name any host; use a Service with endpoints of its own`,
    );
  const port = service.ports.find((p) => p.protocol === 'TCP' && (typeof ref.port === 'number' ? p.port : p.name) === ref.port);
  if (port === undefined) return invalid(`${where} has no TCP port ${shown(ref.port)}; ${known(service)}`, '.port');
  return ok({
    service: { namespace, name: ref.name, portName: port.name },
    appProtocol: port.appProtocol,
    text: `port ${portText(port)} of ${where}`,
  });
}

const shown = (port: number | string): string => (typeof port === 'number' ? String(port) : JSON.stringify(port));

const portText = (port: ServicePort): string => (port.name === '' ? String(port.port) : `${port.name} (${port.port})`);

/** Ports that are told. */
const TOLD = 16;

function known(service: Service): string {
  const ports = service.ports.filter((p) => p.protocol === 'TCP');
  if (ports.length === 0) return service.ports.length === 0 ? 'it has no ports' : 'it has none of TCP';
  const more = ports.length > TOLD ? ` and ${ports.length - TOLD} more` : '';
  return `it has ${ports.slice(0, TOLD).map(portText).join(', ')}${more}`;
}
