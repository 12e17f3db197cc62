import { MatrixaiEngine } from '../../../src/edge/quic/matrixai/engine.ts';
import { engineSuite, type Made } from './conformance.ts';

engineSuite('matrixai', () => {
  const errors: Made['errors'] = [];
  return { engine: new MatrixaiEngine({ onInternalError: (where, error) => errors.push({ where, error }) }), errors };
});
