/** Transport error codes (RFC 9000 s20.1) and the TLS alerts that this edge sends or expects (RFC 9001 s4.8: 0x100 + alert). */
export const NO_ERROR = 0x00;
export const INTERNAL_ERROR = 0x01;
export const CONNECTION_REFUSED = 0x02;
export const INVALID_TOKEN = 0x0b;
export const CRYPTO_BAD_CERTIFICATE = 0x12a;
export const CRYPTO_UNKNOWN_CA = 0x130;
export const CRYPTO_ILLEGAL_PARAMETER = 0x12f;
export const CRYPTO_UNRECOGNIZED_NAME = 0x170;
export const CRYPTO_CERTIFICATE_REQUIRED = 0x174;
export const CRYPTO_NO_APPLICATION_PROTOCOL = 0x178;

/** Application codes of HTTP/3 (RFC 9114 s8.1) that an engine sends by itself: its guards and its boundaries. */
export const H3_NO_ERROR = 0x100;
export const H3_INTERNAL_ERROR = 0x102;
export const H3_EXCESSIVE_LOAD = 0x107;
