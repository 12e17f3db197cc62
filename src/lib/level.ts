/** Log levels and Spooky's own names of them; apart from the log itself, since workers only judge levels. */
export const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'off'] as const;
export type Level = (typeof LEVELS)[number];

/** Spooky's own names, in the order of `LEVELS`: accepted wherever a level is, and shown on terminals. */
export const GHOST_LEVELS = ['whisper', 'haunt', 'spooky', 'scream', 'poltergeist', 'silence'] as const;

export const parseLevel = (text: string): Level | null => {
  const name = text.toLowerCase();
  const at = Math.max((LEVELS as readonly string[]).indexOf(name), (GHOST_LEVELS as readonly string[]).indexOf(name));
  return LEVELS[at] ?? null;
};
