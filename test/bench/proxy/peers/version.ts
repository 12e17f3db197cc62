/** What a program of the Debian sid folder says of itself. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { TOOLS } from '../setting.ts';

/** Some say it on standard error. */
export const versionOf = (...command: readonly string[]): string =>
  execFileSync('sh', ['-c', '"$0" run "$@" 2>&1', join(TOOLS, 'sid'), ...command], { encoding: 'utf8' });
