/** Where the workers of this process find each other. */
import { tmpdir } from 'node:os';
import { RuntimeFolder } from '../../control/runtime.ts';
import { err, ok, type Result } from '../../lib/result.ts';

/**
 * The first that can be used of the place that was asked for, or of those that there are. What users have of their own goes with their last session,
 * and may not be what a process relies on that goes on without one.
 */
export const openFolder = async (
  asked: string | null,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Result<RuntimeFolder, string>> => {
  const user = env['XDG_RUNTIME_DIR'] ?? '';
  const places = asked !== null ? [asked] : [tmpdir(), ...(user === '' ? [] : [user])];
  const faults: string[] = [];
  for (const place of places) {
    try {
      return ok(await RuntimeFolder.create(place));
    } catch (e) {
      faults.push(e instanceof Error ? e.message : String(e));
    }
  }
  return err(`--runtime-dir: no folder for sockets between workers: ${faults.join('; ')}`);
};
