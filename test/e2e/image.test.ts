/** The image, made without a container engine: its root folder is entered, its archive taken apart. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { temporaryFolder } from '../kit/spooky.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH']}` };
const addon = join(ROOT, 'native', 'spooky-quic.node');
const image = (dir: string, ...args: string[]) => spawnSync(join(dir, 'scripts/image'), args, { env, encoding: 'utf8', timeout: 120_000 });

/** A folder with what the stage of the root has. */
function stage(addonText?: string): string {
  const dir = temporaryFolder('spooky-image');
  for (const name of ['scripts/image', 'scripts/imageapp.mjs', 'package.json', 'package-lock.json', 'Makefile', 'LICENSE', 'dist'])
    cpSync(join(ROOT, name), join(dir, name), { recursive: true });
  mkdirSync(join(dir, 'native'));
  if (addonText === undefined) cpSync(addon, join(dir, 'native', 'spooky-quic.node'));
  else writeFileSync(join(dir, 'native', 'spooky-quic.node'), addonText);
  symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
  return dir;
}

test('an addon that does not load ends the making of the root', () => {
  const dir = stage('no shared object');
  const { status, stderr } = image(dir, 'root', join(dir, 'image'));
  expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining('cannot be loaded') });
}, 120_000);

(existsSync(addon) ? describe : describe.skip)('the root, with the addon of this machine', () => {
  let dir = '';
  let root = '';
  beforeAll(() => {
    dir = stage();
    root = join(dir, 'image');
    const made = spawnSync('make', ['image-root', `IMAGE_ROOT=${root}`], { cwd: dir, env, encoding: 'utf8', timeout: 120_000 });
    expect({ status: made.status, stderr: made.stderr }).toEqual({ status: 0, stderr: '' });
  }, 120_000);

  const files = (): { readonly path: string; readonly size: number; readonly mode: number }[] =>
    readdirSync(root, { recursive: true, encoding: 'utf8' }).flatMap((path) => {
      const facts = lstatSync(join(root, path));
      return facts.isFile() ? [{ path, size: facts.size, mode: facts.mode }] : [];
    });

  test('is under 200 MiB, and has nothing that only people who build need', () => {
    const all = files();
    expect(all.reduce((sum, f) => sum + f.size, 0)).toBeLessThan(200 * 1024 ** 2);
    expect(all.filter((f) => /\.(d\.ts|map)$/.test(f.path))).toEqual([]);
    expect(all.filter((f) => /\/(bash|sh|dash|apt|dpkg|npm)$/.test(f.path))).toEqual([]);
    expect(existsSync(join(root, 'opt/spooky/node_modules/typescript'))).toBe(false);
    expect(existsSync(join(root, 'opt/spooky/node_modules/zod'))).toBe(true);
    // Nobody but its owner writes to any of it, nobody becomes somebody else by it, and no key came along.
    expect(all.filter((f) => (f.mode & 0o6022) !== 0)).toEqual([]);
    expect(all.filter((f) => /(-key|\.key)(\.pem)?$/.test(f.path))).toEqual([]);
  });

  // Only root may enter a root; anybody else runs it from outside, on the libraries of the machine.
  const spooky = (...args: string[]): string => {
    const [command, ...rest] =
      process.getuid?.() === 0
        ? ['chroot', '--userspec=65532:65532', root, '/usr/local/bin/spooky']
        : [join(root, 'usr/local/bin/node'), '--no-warnings', join(root, 'opt/spooky/dist/main.js')];
    return execFileSync(command as string, [...rest, ...args], { env: { PATH: '/usr/local/bin:/usr/sbin' }, encoding: 'utf8' });
  };

  test('runs every command on its own libraries, as nobody in particular', () => {
    expect(JSON.parse(spooky('version', '--output', 'json'))).toMatchObject({ node: process.versions.node, engine: 'native' });
    for (const command of ['serve', 'check', 'probe', 'demo', 'crds', 'explain'])
      expect(spooky(command, '--help')).toContain(`spooky ${command}`);
  });

  test('becomes an archive whose digests are true and whose settings are the Dockerfile’s', () => {
    const file = join(dir, 'image.tar');
    const made = image(ROOT, 'archive', root, 'localhost/spooky:test', file);
    expect({ status: made.status, stderr: made.stderr }).toEqual({ status: 0, stderr: '' });
    const out = join(dir, 'archive');
    mkdirSync(out);
    execFileSync('tar', ['-C', out, '-xf', file]);
    const blob = (digest: string): Buffer => {
      const hex = digest.replace('sha256:', '');
      const bytes = readFileSync(join(out, 'blobs/sha256', hex));
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(hex);
      return bytes;
    };
    const json = (bytes: Buffer): Record<string, unknown> => JSON.parse(bytes.toString()) as Record<string, unknown>;
    const index = json(readFileSync(join(out, 'index.json'))) as { manifests: { digest: string; annotations: Record<string, string> }[] };
    expect(index.manifests[0]?.annotations['io.containerd.image.name']).toBe('localhost/spooky:test');
    const manifest = json(blob(index.manifests[0]?.digest as string)) as unknown as {
      config: { digest: string };
      layers: { digest: string; size: number }[];
    };
    expect(blob(manifest.layers[0]?.digest as string)).toHaveLength(manifest.layers[0]?.size as number);
    expect(json(blob(manifest.config.digest))).toMatchObject({
      os: 'linux',
      config: {
        Entrypoint: ['/usr/local/bin/spooky'],
        Cmd: ['serve'],
        User: '65532:65532',
        StopSignal: 'SIGTERM',
        Env: ['PATH=/usr/local/bin', 'SPOOKY_ENGINE=native'],
        Labels: { 'org.opencontainers.image.title': 'Spooky', 'org.opencontainers.image.licenses': 'Apache-2.0' },
      },
      rootfs: { diff_ids: [manifest.layers[0]?.digest] },
    });
  });
});
