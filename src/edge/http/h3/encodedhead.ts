import type { Fields } from '../fields.ts';
import { fieldRoom, sectionRoom, writeFields, writeSectionPrefix, writeStatus } from '../qpack/encode.ts';
import { FRAME, MAX_FRAME_HEAD, writeFrameHead } from './frames.ts';

/** The HEADERS frame of a final head, for answers that have the same one: `respondEncoded` sends it as it is. */
export function encodeHead(status: number, fields: Fields): Uint8Array {
  const section = new Uint8Array(sectionRoom(fields) + fieldRoom(':status', '000'));
  const length = writeFields(section, writeStatus(section, writeSectionPrefix(section, 0), status), fields);
  const frame = new Uint8Array(MAX_FRAME_HEAD + length);
  const at = writeFrameHead(frame, 0, FRAME.HEADERS, length);
  frame.set(section.subarray(0, length), at);
  return frame.slice(0, at + length);
}
