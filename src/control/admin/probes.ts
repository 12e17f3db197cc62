/** The routes of `--metrics`: probes and the scrape. */
import type { Families } from './families.ts';
import { CONTENT_TYPES, chooseFormat, renderMetrics, type ForeignFamily } from './render.ts';
import { text, type Answer, type Route } from './server.ts';

export interface Verdict {
  readonly ok: boolean;
  readonly reasons: readonly string[];
}

export interface ProbeView {
  health(): Verdict;
  ready(): Verdict;
  draining(): boolean;
  /** Brings the families up to date; resolves after two seconds at most. */
  collect(): Promise<void>;
}

const verdict = (v: Verdict): Answer => text(v.ok ? 200 : 503, v.ok ? 'ok' : v.reasons.join('\n'));

export const healthRoute = (view: ProbeView): Route => ({ open: true, answer: () => verdict(view.health()) });
export const readyRoute = (view: ProbeView): Route => ({ open: true, answer: () => verdict(view.ready()) });

export const probeRoutes = (
  view: ProbeView,
  families: Families,
  foreign: () => Promise<readonly ForeignFamily[]>,
): ReadonlyMap<string, Route> =>
  new Map<string, Route>([
    ['/healthz', healthRoute(view)],
    ['/readyz', readyRoute(view)],
    ['/drainz', { open: true, answer: () => text(200, view.draining() ? 'draining' : 'not draining') }],
    [
      '/metrics',
      {
        open: false,
        answer: async ({ accept }) => {
          const format = chooseFormat(accept);
          await view.collect();
          return { status: 200, type: CONTENT_TYPES[format], body: renderMetrics(families, await foreign(), format) };
        },
      },
    ],
  ]);
