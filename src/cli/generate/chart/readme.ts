/** The chart's README: what to know before an installation, and every value from the table that values.yaml comes from. */
import { wordsOf } from './files.ts';
import { leaves, type Leaf } from './value.ts';
import { VALUES } from './values.ts';

const HEAD = `# The chart spooky

<!-- Generated from src/cli/generate/chart: make generate -->

An HTTP/3 ingress controller: a DaemonSet whose pods hold the controller and the data plane together, the kinds \`Listener\` and \`Upstream\`, a UDP Service, and the rights that this takes.

Kubernetes 1.33 or newer, Helm 3.18 or newer (tested with 1.36, and with 3.22 and 4.3). Nodes: Linux on x86-64 with IPv4, IPv6 or both.

## Install

No image is published yet: build one (\`make image IMAGE=registry.example.com/spooky:0.5.0\`), bring it to the cluster's registry or nodes, and say where it is.

\`\`\`sh
helm install spooky charts/spooky --namespace spooky-system --create-namespace \\
  --set image.repository=registry.example.com/spooky
helm test spooky --namespace spooky-system      # once there is a Listener
\`\`\`

Nothing is served until there is a Listener: what Helm prints at the end has the commands, and \`manifests/quickstart.yaml\` is a whole example. Listeners belong into the release's namespace (\`listenerNamespaces\` admits others), on a port that \`ports\` has as \`targetPort\`.

\`helm test\` asks every programmed Listener through the Service, from a pod that may list Listeners for as long; any HTTP/3 response passes. Its log says which hop fails, and is printed; nothing of it stays.

Without Helm: \`manifests/install.yaml\` is what this chart renders by default in the namespace \`spooky-system\`.

\`\`\`sh
kubectl apply --server-side -f manifests/install.yaml
\`\`\`

The namespace may enforce the Pod Security level \`restricted\` with the exposures nodePort and loadBalancer. hostPort and hostNetwork need \`privileged\`:

\`\`\`sh
kubectl label namespace spooky-system pod-security.kubernetes.io/enforce=restricted
\`\`\`

## Exposure

| \`exposure.type\` | clients use | client addresses | a pod is replaced | needs |
|---|---|---|---|---|
| nodePort | \`ports[].nodePort\` of a node with a pod | kept (\`externalTrafficPolicy: Local\`) | the new one first | a UDP load balancer in front for port 443 |
| loadBalancer | \`ports[].port\` of the Service's address | kept, where the load balancer keeps them | the new one first | a load balancer that carries UDP |
| hostPort | \`ports[].port\` of a node | kept | the old one first | a CNI with portmap; namespace \`privileged\` |
| hostNetwork | \`ports[].targetPort\` of a node | kept; no NAT and no conntrack on the way | the old one first | free ports on the nodes; namespace \`privileged\` |

There is a Service in every case: of type ClusterIP with hostPort and hostNetwork, for clients in the cluster and for \`helm test\`. Listeners learn from it by which port clients reach them.

Ports under 1024 are not for the process: it has no right to bind them. The Service or the node's \`port\` in front of it may be 443. With hostNetwork alone \`targetPort: 443\` is possible, when \`exposure.hostNetwork.lowPorts\` says how.

With hostNetwork the metrics port is a port of the node: firewall it, or set \`metrics.address\` to 127.0.0.1 or to an address of the node's inner network.

## Memory and workers

| of \`resources\` | becomes |
|---|---|
| whole cores of \`requests.cpu\`, at least 1, where there is no \`limits.cpu\` | \`--workers\` |
| \`limits.cpu\` | \`--workers auto\`: the limit rounded to the nearest whole number, no more than the node has cores |
| \`limits.memory\` | \`--max-connections\`: three quarters of what 128 Mi and 80 Mi for each worker leave, at 100 Ki a connection |
| \`limits.memory\` | \`--max-old-space-size\`: 60 % of it, shared among the main process and the workers |
| \`limits.memory\` | what a worker may take before it is replaced (\`--worker-memory auto\`, by the process itself): 80 % without 128 Mi, shared among the workers; a quarter above it is killed. \`extraArgs\` can say otherwise |

512Mi and one worker: 2330 connections of each Listener and node. 1Gi: 6260. \`maxConnections\`, \`workers\` and \`nodeOptions\` have the last word. There is no CPU limit: throttling costs latency.

## The key

Connection ids, address tokens, resets and session tickets derive from one key, so that a client whose pod has gone, or that reaches another node, resumes in one round trip. \`helm install\` makes it, in the Secret \`RELEASE-key\`; \`helm upgrade\` finds it in the cluster and keeps it; \`helm uninstall\` takes it away.

\`helm template\`, and whatever deploys by it (Argo CD), cannot look into a cluster. It renders no key, so that its output is the same each time; each pod then makes one of its own, and everything works except that resumption across pods. Give it a key by hand:

\`\`\`sh
openssl rand -out key 48
kubectl create secret generic spooky-key --namespace spooky-system --from-file=key
helm template spooky charts/spooky --namespace spooky-system --no-hooks --set key.existingSecret=spooky-key
\`\`\`

Whoever installs needs the right to read the Namespace \`default\` and, in the release's namespace, that Secret.

## Rights

One ServiceAccount. It reads Services, EndpointSlices, Namespaces, Listeners, Upstreams and ReferenceGrants (in \`watchNamespaces\`, when given), Secrets and ConfigMaps in the release's namespace and in \`secrets.namespaces\`, and Nodes only with \`publishNodeAddresses\` or \`topology.source: node\`. It writes the status of Listeners and Upstreams, events, and its own Lease.

- A certificate in a namespace that is not opted in gives its Listener or Upstream the reason \`RefNotPermitted\`, and the message names \`secrets.namespaces\`.
- \`secrets.mode: cluster\` spares that list, and lets whoever takes over one pod read every Secret of the cluster.
- \`controller.mode: deployment\` keeps every right to write from the pods with traffic: their ServiceAccount only reads.
- \`rbac.aggregate\` adds Listeners and Upstreams to the roles admin, edit and view that namespaces have.

## Upgrade and uninstall

\`helm upgrade\` upgrades the two kinds as well. Pods drain: for \`drain.delay\` they go on as before, then they accept nothing new and open requests finish, for \`drain.timeout\` at most. The grace period is the sum and 5 s.

\`helm uninstall\` keeps the two kinds, and with them every Listener and Upstream, whose status stays as it was last written. They hold no finalizer. Everything else goes, the Lease that the pods made included; pods drain first. To remove them too, **with every Listener and Upstream of every namespace**:

\`\`\`sh
kubectl delete crd listeners.spooky.dev upstreams.spooky.dev
\`\`\`

Kinds that were kept belong to the release's name and namespace. Another release, or the first one after \`manifests/install.yaml\`, takes over what is there with \`helm install --take-ownership\`, or leaves the kinds alone with \`--set crds.enabled=false\`; a second installation beside the first needs the latter, a \`className\`, and node ports of its own.

## What other charts call differently, or have

| elsewhere | here |
|---|---|
| \`controller.service\`, \`service.type\`, \`service.ports\` | \`exposure\` and \`ports\` |
| \`replicaCount\`, autoscaling | One pod for each node that \`nodeSelector\`, \`affinity\` and \`tolerations\` leave; \`workers\` for its cores. |
| \`terminationGracePeriodSeconds\`, \`lifecycle.preStop\` | \`drain.delay\` and \`drain.timeout\`: the process waits by itself, and the grace period follows. |
| \`sessionAffinity\` | Not needed: with \`externalTrafficPolicy: Local\` a node has one pod. |
| \`loadBalancerIP\` | The annotation of your load balancer, in \`exposure.annotations\`. |
| \`extraObjects\` | Your own manifests: a Listener cannot be applied before its kind, which this chart brings. |

## Values

Unknown values, and values of a wrong type, are errors.

| value | default | |
|---|---|---|
`;

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

const row = ([path, leaf]: readonly [string, Leaf]): string => {
  const words = wordsOf(leaf);
  const help = words === '' ? leaf.help : `${leaf.help} One of ${words.replaceAll(' | ', ', ')}.`;
  return `| \`${path}\` | \`${cell(JSON.stringify(leaf.default))}\` | ${cell(help)} |`;
};

export const chartReadme = (): string => `${HEAD}${[...leaves(VALUES)].map(row).join('\n')}\n`;
