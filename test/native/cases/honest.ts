import { caseAddon, honest, tell } from '../wire.ts';

tell({ honest: await honest(caseAddon()) });
