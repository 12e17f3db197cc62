/** The generated files of charts/spooky. Templates, Chart.yaml and NOTES.txt are written by hand. */
import { chartSchema, crdTemplates, valuesFile } from './files.ts';
import { chartReadme } from './readme.ts';

export const chartFiles = (): Map<string, string> =>
  new Map([
    ['charts/spooky/values.yaml', valuesFile()],
    ['charts/spooky/values.schema.json', chartSchema()],
    ['charts/spooky/README.md', chartReadme()],
    ...crdTemplates(),
  ]);
