/** Parts as bytes: canonical JSON, so that equal content has one hash whatever built it. */
import { hash as digest } from 'node:crypto';
import { Secret } from '../../lib/secret.ts';
import type { GroupId, Part, PartHash } from './parts.ts';

/** Keys in order, no white space; the bytes of a private key in base64. Only for the channel between our processes: never print the result. */
export function encodePart(part: Part): Uint8Array {
  return Buffer.from(canonical(part), 'utf8');
}

export function decodePart(bytes: Uint8Array): Part {
  const value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')) as Part;
  if (value.kind !== 'certificate') return value;
  return { ...value, key: new Secret(Buffer.from(value.key as unknown as string, 'base64')) };
}

/** 132 bits of SHA-256: no two parts meet by chance, and none can be made to. */
export const hashPart = (bytes: Uint8Array): PartHash => digest('sha256', bytes, 'base64url').slice(0, 22) as PartHash;

export const groupId = (namespace: string, upstream: string, group: string): GroupId =>
  JSON.stringify([namespace, upstream, group]) as GroupId;

function canonical(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value instanceof Secret) return JSON.stringify(Buffer.from(value.reveal()).toString('base64'));
  const record = value as Readonly<Record<string, unknown>>;
  const members = Object.keys(record)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(record[key])}`);
  return `{${members.join(',')}}`;
}
