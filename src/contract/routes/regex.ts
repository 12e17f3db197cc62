/** Regular expressions from users: linear time, bounded size. The one place that knows which engine runs them. */
import { RE2JS } from 're2js';
import { err, ok, type Result } from '../../lib/result.ts';

/** Time per character grows with the program: this keeps a hostile pair of pattern and 64 KiB subject under a tenth of a second. */
const MAX_PROGRAM = 1100;

/** What the engine may keep of its lazily built automaton per pattern; its own default, 8 MiB, is too much for thousands of patterns. */
const AUTOMATON_BYTES = 256 * 1024;

/** A pattern that must match the whole subject. */
export class Pattern {
  readonly source: string;
  private readonly re: RE2JS;

  constructor(source: string, re: RE2JS) {
    this.source = source;
    this.re = re;
  }

  matches(subject: string): boolean {
    return this.re.testExact(subject);
  }

  /** Bytes of the automaton that earlier subjects left behind, as the engine reckons them. */
  retained(): number {
    const automaton = this.re.re2().lazyDFA;
    return automaton === null ? 0 : automaton.stateBudget - automaton.memBudget;
  }
}

/** The error says what is wrong with the expression, as one clause. */
export function compilePattern(source: string): Result<Pattern, string> {
  let re: RE2JS;
  try {
    re = RE2JS.compile(source);
  } catch (e) {
    const message = e instanceof Error ? e.message : String(e);
    return err(`not a regular expression: ${message.replace(/^error parsing regexp: /, '')}`);
  }
  if (re.programSize() > MAX_PROGRAM) return err(`the regular expression is too large: ${re.programSize()} steps, at most ${MAX_PROGRAM}`);
  re.testExact('');
  const automaton = re.re2().lazyDFA;
  if (automaton !== null) {
    automaton.stateBudget = AUTOMATON_BYTES;
    automaton.memBudget = AUTOMATON_BYTES;
  }
  return ok(new Pattern(source, re));
}
