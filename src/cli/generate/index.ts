/** Every file that is generated, by its path in the repository. `make generate` writes them, `make check-generate` compares. */
import { chartFiles } from './chart/index.ts';
import { classicPage } from './classic.ts';
import { crdFiles } from './crds.ts';
import { resourcesPage } from './resources.ts';

const GENERATORS: readonly (() => ReadonlyMap<string, string>)[] = [
  crdFiles,
  chartFiles,
  () => new Map([['docs/reference/resources.md', resourcesPage()]]),
  () => new Map([['docs/reference/classic.md', classicPage()]]),
];

export const generateAll = (): Map<string, string> => new Map(GENERATORS.flatMap((generate) => [...generate()]));
