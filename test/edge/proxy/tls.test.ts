import { expect, test } from '@jest/globals';
import { encodePart, hashPart } from '../../../src/contract/snapshot/index.ts';
import { PartStore } from '../../../src/edge/proxy/parts.ts';
import { Slices } from '../../../src/edge/proxy/slices.ts';
import { TlsTables } from '../../../src/edge/proxy/tls.ts';
import { readPairs } from '../../../src/edge/quic/entry.ts';
import type { TlsEntry } from '../../../src/edge/quic/engine.ts';
import { Secret } from '../../../src/lib/secret.ts';
import { makeCa, makeLeaf } from '../../kit/certs.ts';
import { certificatePart, listenerPart } from '../../kit/snapshot.ts';

const ca = makeCa('ca');

const rig = () => {
  const parts = new PartStore();
  const certificate = (name = 'site.example'): string => {
    const { cert, key } = makeLeaf(ca, { names: [name] });
    const bytes = encodePart(certificatePart({ cert: cert.toString(), key: new Secret(key) }));
    const hash = hashPart(bytes);
    parts.add(hash, bytes);
    return hash;
  };
  const listener = (hash: string) => {
    const entries = [{ names: ['site.example'], certificates: [hash as ReturnType<typeof hashPart>] }];
    return listenerPart({ tls: { entries, fallback: 0, unmatched: 'Default' } });
  };
  return { parts, certificate, listener, tables: new TlsTables(Buffer.alloc(32, 1)) };
};

const only = ({ entries }: { readonly entries: readonly TlsEntry[] }): TlsEntry => entries[0] as TlsEntry;

test('new ticket keys make new entries of the same certificates, into which nobody looks again', async () => {
  const { parts, certificate, listener, tables } = rig();
  const part = listener(certificate());
  const before = only(await tables.build(part, parts, 1, new Slices()));
  const [read] = readPairs(before);
  const after = only(tables.renew(part, parts, 2));
  expect(after.id).not.toBe(before.id);
  expect(after.ticketKeys).not.toEqual(before.ticketKeys);
  expect(after.certs[0]).toBe(before.certs[0]);
  expect(readPairs(after)[0]).toBe(read);
});

test('another certificate is looked into', async () => {
  const { parts, certificate, listener, tables } = rig();
  const before = only(await tables.build(listener(certificate()), parts, 1, new Slices()));
  const after = only(await tables.build(listener(certificate('other.example')), parts, 1, new Slices()));
  expect(readPairs(after)[0]?.cert).not.toBe(readPairs(before)[0]?.cert);
  expect(readPairs(after)[0]?.key).not.toBe(readPairs(before)[0]?.key);
});

test('a certificate that is none is refused each time', () => {
  const { parts, listener, tables } = rig();
  const bytes = encodePart(certificatePart());
  const hash = hashPart(bytes);
  parts.add(hash, bytes);
  const entry = only(tables.renew(listener(hash), parts, 1));
  for (let i = 0; i < 2; i++) expect(() => readPairs(entry)).toThrow(`TLS entry ${entry.id}: `);
});
