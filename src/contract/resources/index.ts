/** What users write. */
export * from './set.ts';
export type * from './objects.ts';
export * from './cluster.ts';
export * from './units.ts';
export { listenerSpec, type CertificateRef, type Listener, type ListenerLimits, type ListenerTls } from './listener.ts';
export {
  DEFAULT_HTTP_CHECK,
  isBackendAddress,
  upstreamSpec,
  type BackendAddress,
  type BackendTls,
  type HashKeySpec,
  type HealthCheck,
  type HttpHealthCheck,
  type LoadBalancing,
  type Timeouts,
  type Upstream,
  type UpstreamBackend,
  type UpstreamMatch,
} from './upstream.ts';
export {
  SETTINGS,
  listenAddress,
  readSettings,
  settingByName,
  type LogLevel,
  type Setting,
  type SettingOf,
  type SettingName,
  type SettingsDocument,
  type SettingsFault,
  type SettingValues,
} from './settings.ts';
export { CLUSTER_SETTINGS, type ClusterValues } from './clustersettings.ts';
export {
  SHAPES,
  pathText,
  suggestion,
  validateEmpty,
  validateListener,
  validateUpstream,
  type Fault,
  type PathStep,
  type Validated,
  type ValidateOptions,
} from './validate.ts';
export { type Member, type Shape } from './shape.ts';
export { PATTERNS, isAddress, isCidr, matchesPattern } from './names.ts';
export { show, type FieldInfo } from './fields.ts';
export type { ListenerStatus, UpstreamStatus } from './status.ts';
