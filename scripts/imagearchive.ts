/** A folder as an OCI archive, without a container engine: scripts/imagearchive.ts ROOT NAME FILE. What the image runs as is read from the Dockerfile. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const [root, name, file] = process.argv.slice(2);
if (root === undefined || name === undefined || file === undefined) {
  process.stderr.write('usage: scripts/imagearchive.ts ROOT NAME FILE\n');
  process.exit(2);
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

/** The words of the last stage. */
const finalStage = (): Map<string, string[]> => {
  const text = readFileSync(join(import.meta.dirname, '../Dockerfile'), 'utf8').replaceAll(/\\\n\s*/g, '');
  const words = new Map<string, string[]>();
  for (const line of text.slice(text.lastIndexOf('\nFROM ')).split('\n')) {
    const [, word, rest] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    if (word !== undefined && rest !== undefined) words.set(word, [...(words.get(word) ?? []), rest]);
  }
  return words;
};

const pairs = (lines: readonly string[]): [string, string][] =>
  lines.flatMap((line) =>
    [...line.matchAll(/([\w.]+)=("[^"]*"|\S+)/g)].map((m): [string, string] => [m[1] as string, (m[2] as string).replaceAll('"', '')]),
  );

const config = (): Record<string, unknown> => {
  const words = finalStage();
  const list = (word: string): unknown => JSON.parse(words.get(word)?.[0] ?? '[]');
  return {
    Entrypoint: list('ENTRYPOINT'),
    Cmd: list('CMD'),
    User: words.get('USER')?.[0],
    StopSignal: words.get('STOPSIGNAL')?.[0],
    Env: pairs(words.get('ENV') ?? []).map(([key, value]) => `${key}=${value}`),
    Labels: Object.fromEntries(pairs(words.get('LABEL') ?? [])),
    WorkingDir: '/',
  };
};

const work = mkdtempSync(join(dirname(resolve(file)), '.image-'));
const blobs = join(work, 'blobs', 'sha256');

const blob = async (path: string, mediaType: string): Promise<Descriptor> => {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  const digest = hash.digest('hex');
  const { size } = statSync(path);
  renameSync(path, join(blobs, digest));
  return { mediaType, digest: `sha256:${digest}`, size };
};

const json = (value: unknown, mediaType: string): Promise<Descriptor> => {
  const path = join(work, 'json');
  writeFileSync(path, JSON.stringify(value));
  return blob(path, mediaType);
};

const OCI = 'application/vnd.oci.image';
const tar = (...args: string[]): void =>
  void execFileSync('tar', ['--sort=name', '--numeric-owner', '--owner=0', '--group=0', '--mtime=@0', ...args]);

try {
  mkdirSync(blobs, { recursive: true });
  const layerFile = join(work, 'layer');
  tar('-C', root, '-cf', layerFile, '.');
  const layer = await blob(layerFile, `${OCI}.layer.v1.tar`);
  const image = {
    architecture: ARCHITECTURES[process.arch] ?? process.arch,
    os: 'linux',
    config: config(),
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: await json(image, `${OCI}.config.v1+json`),
    layers: [layer],
  };
  const named = {
    ...(await json(manifest, `${OCI}.manifest.v1+json`)),
    annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name.slice(name.lastIndexOf(':') + 1) },
  };
  writeFileSync(join(work, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  writeFileSync(join(work, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  tar('-C', work, '-cf', file, 'oci-layout', 'index.json', 'blobs');
} finally {
  rmSync(work, { recursive: true, force: true });
}
