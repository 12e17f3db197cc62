export { Backends, type BackendsOptions } from './backends.ts';
export type { Endpoint } from './endpoint.ts';
export { Group } from './group.ts';
export { Waiting } from './pool.ts';
export type { BackendSession, Connect, SessionEvents, Target } from './session.ts';
export { Split } from './split.ts';
