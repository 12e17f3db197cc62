/**
 * What stories are told with. They run inside a whole cluster (`test/cluster/stories/run`, or `test/cluster/enter` with one that is up): kubectl
 * and helm are its administrator's, node and pod addresses can be reached, and nothing else of the machine.
 */
export { eventually } from '../../kit/process.ts';
export * from './cluster.ts';
export * from './demo.ts';
export * from './load.ts';
export * from './metrics.ts';
