/** `make bench-publish [RESULT=file]`: the last whole run becomes the one that the README shows. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { messageOf } from '../../../../src/lib/message.ts';
import { RESULTS, type Saved } from '../save.ts';
import { ROOT } from '../setting.ts';
import { incomplete, summaryOf } from './summary.ts';

function fail(why: string): never {
  process.stderr.write(`bench-publish: ${why}\n`);
  process.exit(1);
}

function read(file: string): Saved {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Saved;
  } catch (e) {
    return fail(`${relative(ROOT, file)}: ${messageOf(e)}`);
  }
}

/** The latest that has everything. */
function latest(): string {
  const files = existsSync(RESULTS) ? readdirSync(RESULTS).filter((name) => /^[\dT-]+\.json$/.test(name)) : [];
  const whole = files
    .sort()
    .reverse()
    .map((name) => join(RESULTS, name))
    .find((file) => incomplete(read(file)) === null);
  return whole ?? fail('there is no result of a run of every row against every peer: make bench');
}

const given = process.argv[2];
const file = given === undefined ? latest() : resolve(given);
if (!existsSync(file)) fail(`${file} does not exist`);
const saved = read(file);
const why = incomplete(saved);
if (why !== null) fail(`${relative(ROOT, file)}: ${why}`);
writeFileSync(join(ROOT, 'test', 'bench', 'summary.json'), `${JSON.stringify(summaryOf(saved), null, 2)}\n`);
process.stdout.write(`test/bench/summary.json: ${relative(ROOT, file)}\n`);
