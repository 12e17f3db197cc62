import { MemoryEngine } from '../../../src/edge/quic/memory/engine.ts';
import { MemoryNetwork, type NetworkOptions } from '../../../src/edge/quic/memory/network.ts';
import { engineSuite, type Made } from './conformance.ts';

const make = (o: NetworkOptions) => (): Made => {
  const errors: Made['errors'] = [];
  return {
    engine: new MemoryEngine({ network: new MemoryNetwork(o), onInternalError: (where, error) => errors.push({ where, error }) }),
    errors,
  };
};

engineSuite('memory', make({}));
engineSuite('memory with losses', make({ seed: 7, drop: 0.02, reorder: 0.05, split: 5000, resendMs: 5 }), true);
