import type { CloseReason } from './engine.ts';

/** Why `connect` failed: a transport or application error code, with the side that gave up. */
export class HandshakeError extends Error {
  readonly side: 'local' | 'remote' | 'timeout' | 'reset';
  readonly app: boolean;
  readonly code: number;

  constructor(side: 'local' | 'remote' | 'timeout' | 'reset', app: boolean, code: number, message: string) {
    super(message);
    this.name = 'HandshakeError';
    this.side = side;
    this.app = app;
    this.code = code;
  }
}

export function handshakeError(why: CloseReason): HandshakeError {
  const what =
    why.side === 'timeout'
      ? 'no handshake in time'
      : `handshake failed (${why.side}, code 0x${why.code.toString(16)}${why.reason === '' ? '' : `: ${why.reason}`})`;
  return new HandshakeError(why.side, why.app, why.code, what);
}

/** An option that this engine cannot honour: refused by name, never ignored. */
export class UnsupportedOption extends Error {
  readonly option: string;

  constructor(engine: string, option: string, why: string) {
    super(`the ${engine} engine cannot honour ${option}: ${why}`);
    this.name = 'UnsupportedOption';
    this.option = option;
  }
}
