/** A list of endpoints that no message of the channel holds, cut by main and joined by workers. */
import type { EndpointInfo, EndpointList } from './snapshot/parts.ts';

export interface Piece {
  readonly piece: EndpointList;
  readonly last: boolean;
}

export function cutList(whole: EndpointList, most: number, bytesOf: (info: EndpointInfo) => number): Piece[] {
  const pieces: Piece[] = [];
  let part: EndpointInfo[] = [];
  let size = 0;
  for (const info of whole.list) {
    const n = bytesOf(info);
    if (part.length > 0 && size + n > most) {
      pieces.push({ piece: { ...whole, list: part }, last: false });
      part = [];
      size = 0;
    }
    part.push(info);
    size += n;
  }
  pieces.push({ piece: { ...whole, list: part }, last: true });
  return pieces;
}

/** Pieces come in order, and those of one list one after the other. */
export class ListJoin {
  private list: EndpointInfo[] = [];

  /** The whole list with its last piece, else null. */
  take({ piece, last }: Piece): EndpointList | null {
    for (const info of piece.list) this.list.push(info);
    if (!last) return null;
    const { list } = this;
    this.list = [];
    return { ...piece, list };
  }
}
