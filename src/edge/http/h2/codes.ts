/** Names and numbers of RFC 9113. */

/** s6 */
export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const Flag = {
  END_STREAM: 0x01,
  ACK: 0x01,
  END_HEADERS: 0x04,
  PADDED: 0x08,
  PRIORITY: 0x20,
} as const;

/** s6.5.2 */
export const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const;

/** s7 */
export const ErrorCode = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
  HTTP_1_1_REQUIRED: 13,
} as const;

export type ErrorCodeName = keyof typeof ErrorCode;

const NAMES = Object.keys(ErrorCode) as ErrorCodeName[];

/** For logs; unknown codes by their number. */
export function errorName(code: number): string {
  return NAMES[code] ?? `0x${code.toString(16)}`;
}

/** s3.4 */
export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export const FRAME_HEADER = 9;

/** Initial SETTINGS_MAX_FRAME_SIZE, the only one that we advertise, and its bounds (s6.5.2). */
export const FRAME_SIZE = 16_384;
export const FRAME_SIZE_MOST = 16_777_215;

/** Initial windows of streams and connection, and the largest one (s6.9). */
export const WINDOW = 65_535;
export const WINDOW_MOST = 0x7fffffff;

/** The last stream identifier (s5.1.1). */
export const STREAM_MOST = 0x7fffffff;
