/** What to do about a bad condition, in one sentence: for the notes of events. */
import type { ConditionReasons } from '../compile/index.ts';

type Bad =
  | Exclude<ConditionReasons['Accepted'], 'Valid'>
  | Exclude<ConditionReasons['ResolvedRefs'], 'ResolvedRefs'>
  | Exclude<ConditionReasons['Programmed'], 'Programmed'>
  | Exclude<ConditionReasons['Published'], 'Published'>
  | Exclude<ConditionReasons['Conflicted'], 'NoConflict'>;

const REMEDIES: Readonly<Record<Bad, Readonly<Record<'Listener' | 'Upstream', string>>>> = {
  NotAllowed: {
    Listener: 'Put it into the namespace of the installation, or name its namespace in the chart value listenerNamespaces.',
    Upstream: 'Name a Listener that exists in spec.listeners, and admit this namespace in its spec.allowedNamespaces.',
  },
  NoMatchingHostname: {
    Listener: 'Change spec.hostnames.',
    Upstream: 'Change spec.hostnames so that one of them lies within the hostnames of the Listener, or widen those.',
  },
  PortConflict: {
    Listener: 'Choose another port or other addresses, or remove the older Listener.',
    Upstream: 'Attach it to a Listener that is served.',
  },
  Conflicted: {
    Listener: 'Remove the older object, or change this one.',
    Upstream: 'Change hostnames or matches, or remove the older Upstream.',
  },
  Invalid: { Listener: 'Correct the field and apply it again.', Upstream: 'Correct the field and apply it again.' },
  RefNotPermitted: {
    Listener:
      'Create the object that it refers to, and in another namespace a ReferenceGrant; Secrets are read in the namespaces of the chart value secrets.namespaces.',
    Upstream:
      'Create the object that it refers to, and in another namespace a ReferenceGrant; Secrets are read in the namespaces of the chart value secrets.namespaces.',
  },
  InvalidCertificate: {
    Listener: 'Put a certificate chain, leaf first, and its key into the Secret.',
    Upstream: 'Put a certificate chain, leaf first, and its key into the Secret.',
  },
  InvalidBackend: {
    Listener: 'Correct the reference.',
    Upstream: 'Correct the backend; requests of its share are answered with 500 until then.',
  },
  AddressNotBound: {
    Listener: 'Free the address, or change spec.port or spec.addresses.',
    Upstream: 'Free the address of the Listener, or change its port.',
  },
  Pending: {
    Listener: 'See the other conditions and the logs of the pods.',
    Upstream: 'See the other conditions, those of the Listener, and the logs of the pods.',
  },
  PortNotPublished: {
    Listener: 'Add the port to the chart value ports.',
    Upstream: 'Add the port of the Listener to the chart value ports.',
  },
  Conflict: {
    Listener: 'Remove the older object, or change this one.',
    Upstream: 'Change hostnames or matches, or remove the older Upstream; what it does not share is served.',
  },
};

export const remedyFor = (reason: string, kind: 'Listener' | 'Upstream'): string =>
  Object.hasOwn(REMEDIES, reason) ? REMEDIES[reason as Bad][kind] : '';
