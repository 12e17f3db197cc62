import { expect, test } from '@jest/globals';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Chromium } from '../kit/chromium.ts';
import { ROOT } from '../kit/peers.ts';
import { scenarios } from './scenarios.ts';
import { chromiumOptions, HOSTS } from './world.ts';

const subject = scenarios('Chromium', (world) => new Chromium(chromiumOptions(world)));

test('a page comes by h3, says so, and looks like one', async () => {
  const { client, world } = subject();
  const page = await (client as Chromium).browser.page();
  await page.goto(`https://${HOSTS.go}:${world.ports.open}/page`);
  expect(await page.evaluate<string>(`performance.getEntriesByType('navigation')[0].nextHopProtocol`)).toBe('h3');
  expect(await page.evaluate<string>('document.body.innerText')).toBe('Served by go\n\nThis page came by h3.');
  const png = await page.screenshot();
  expect(png.subarray(1, 4).toString()).toBe('PNG');
  expect(png.readUInt32BE(16)).toBeGreaterThan(300); // width
  mkdirSync(join(ROOT, 'build', 'e2e'), { recursive: true });
  writeFileSync(join(ROOT, 'build', 'e2e', 'chromium.png'), png);
  await page.close();
}, 60_000);
