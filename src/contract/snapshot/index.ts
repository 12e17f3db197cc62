export * from './parts.ts';
export { decodePart, encodePart, groupId, hashPart } from './wire.ts';
export { dumpCertificate, dumpSnapshot, type CertificateDump } from './dump.ts';
