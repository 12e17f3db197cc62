import { NativeEngine } from '../../../src/edge/quic/native/engine.ts';
import { systemClock, type Clock } from '../../../src/lib/clock.ts';
import { engineSuite, type Made, type Nature } from './conformance.ts';
import { handoverSuite } from './handover.ts';
import { datagramSuite } from './hostile.ts';
import { describeNative } from './native/built.ts';
import { nativeSuite } from './native/suite.ts';

const NATURE: Nature = { eager: true, authenticOnly: true, honours: ['keylog', 'earlyData'] };

describeNative('native', (addon) => {
  const make = (clock: Clock): Made => {
    const errors: Made['errors'] = [];
    return {
      engine: new NativeEngine({ addon: addon(), clock, onInternalError: (where, error) => errors.push({ where, error }) }),
      errors,
    };
  };
  engineSuite('native', () => make(systemClock), NATURE);
  datagramSuite('native', make, NATURE);
  handoverSuite('native', () => make(systemClock));
  nativeSuite(addon);
});
