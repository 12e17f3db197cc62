import { MatrixaiEngine } from '../../../src/edge/quic/matrixai/engine.ts';
import { systemClock, type Clock } from '../../../src/lib/clock.ts';
import { engineSuite, type Made } from './conformance.ts';
import { handoverSuite } from './handover.ts';
import { datagramSuite } from './hostile.ts';

const make = (clock: Clock): Made => {
  const errors: Made['errors'] = [];
  return { engine: new MatrixaiEngine({ clock, onInternalError: (where, error) => errors.push({ where, error }) }), errors };
};

engineSuite('matrixai', () => make(systemClock));
datagramSuite('matrixai', make);
handoverSuite('matrixai', () => make(systemClock));
