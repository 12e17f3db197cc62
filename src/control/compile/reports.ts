/** What is to be told of objects. Kept with a draft that is taken over; a place is looked up when it is told, since the text above may have grown. */
import type { ObjectMeta, Problem, RejectedObject } from '../../contract/resources/index.ts';

/** `bearable`: takes one backend group out of service. `settled`: the outcome is laid down. */
export type Weight = 'full' | 'bearable' | 'settled';

export class Report {
  readonly step: number;
  readonly severity: Problem['severity'];
  readonly kind: RejectedObject['kind'];
  readonly meta: ObjectMeta;
  readonly path: string;
  readonly message: string;
  readonly weight: Weight;

  constructor(
    step: number,
    severity: Problem['severity'],
    kind: RejectedObject['kind'],
    meta: ObjectMeta,
    path: string,
    message: string,
    weight: Weight,
  ) {
    this.step = step;
    this.severity = severity;
    this.kind = kind;
    this.meta = meta;
    this.path = path;
    this.message = message;
    this.weight = weight;
  }

  problem(): Problem {
    const { meta, path, kind } = this;
    const place = meta.origin?.locate(path) ?? { line: 0, column: 0 };
    return {
      severity: this.severity,
      file: meta.origin?.file ?? '',
      line: place.line,
      column: place.column,
      object: `${kind} ${meta.namespace}/${meta.name}`,
      path: meta.origin?.spell?.(path) ?? path,
      message: this.message,
    };
  }
}

export interface Told {
  readonly problems: readonly Problem[];
  readonly bearable: ReadonlySet<Problem>;
  readonly settled: ReadonlySet<Problem>;
}

/** In the order of steps. */
export function tellAll(reports: readonly Report[]): Told {
  const problems: Problem[] = [];
  const bearable = new Set<Problem>();
  const settled = new Set<Problem>();
  for (const report of [...reports].sort((a, b) => a.step - b.step)) {
    const problem = report.problem();
    problems.push(problem);
    if (report.weight === 'bearable') bearable.add(problem);
    else if (report.weight === 'settled') settled.add(problem);
  }
  return { problems, bearable, settled };
}
