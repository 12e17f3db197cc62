/** Hears of exceptions that a boundary caught. */
export type Report = (where: string, error: unknown) => void;

/** Whoever hears of defects must not add one. */
export function guarded(report: Report | undefined): Report {
  return (where, error) => {
    try {
      report?.(where, error);
    } catch {
      // There is nobody left to tell.
    }
  };
}
