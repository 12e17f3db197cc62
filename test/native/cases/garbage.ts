/** JSON that is not what it should be, in every export that takes some. */
import { limitsJson, tlsJson, keysJson } from '../../../src/edge/quic/native/options.ts';
import { listenOptions } from '../../edge/quic/kit.ts';
import { caseAddon, DIAL, echoServer, honest, LISTEN, tell, thrown } from '../wire.ts';

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const addon = caseAddon();
const server = echoServer(addon);
const f = (): number => 0;
const o = listenOptions();

const takers: Record<string, { json: string; call: (json: string) => unknown }> = {
  open: { json: LISTEN(), call: (json) => addon.close(addon.open(json, f, f).handle) },
  dial: { json: DIAL(server.port), call: (json) => addon.close(addon.dial(json, f, f).handle) },
  setTls: { json: tlsJson(o.tls), call: (json) => addon.setTls(server.handle, json) },
  setLimits: { json: limitsJson(o.limits), call: (json) => addon.setLimits(server.handle, json) },
  setKeys: { json: keysJson(o), call: (json) => addon.setKeys(server.handle, json) },
  succeed: { json: '[0,7,255]', call: (json) => addon.succeed(server.handle, json) },
};

/** Every copy of `value` with one place changed by `change`, and where that was. */
function* changed(value: Json, change: (v: Json) => Json[], path = ''): Generator<[string, Json]> {
  for (const v of change(value)) yield [path, v];
  if (typeof value !== 'object' || value === null) return;
  for (const [k, v] of Object.entries(value)) {
    for (const [at, c] of changed(v, change, `${path}.${k}`)) {
      const copy = (Array.isArray(value) ? [...value] : { ...value }) as { [name: string]: Json };
      copy[k] = c;
      yield [at, copy];
    }
  }
}

const isObject = (v: Json): v is { [name: string]: Json } => typeof v === 'object' && v !== null && !Array.isArray(v);
const more = (v: Json): Json[] => (isObject(v) ? [{ ...v, unheardOf: 1 }] : []);
const fewer = (v: Json): Json[] =>
  isObject(v) ? Object.keys(v).map((k) => Object.fromEntries(Object.entries(v).filter(([n]) => n !== k))) : [];
const others = (v: Json): Json[] => {
  const all: Json[] = [null, true, -1, 1.5, 1e300, '\u0000', 'x'.repeat(1000), [], [[]], {}];
  return all.filter((w) => typeof w !== typeof v || (typeof v === 'object' && JSON.stringify(v) !== JSON.stringify(w)));
};

/** The field that `copy` lacks at the place `path`. */
function missing(whole: Json, copy: Json, path: string): string {
  const walk = (v: Json): Json =>
    path
      .split('.')
      .slice(1)
      .reduce((o, k) => (o as { [name: string]: Json })[k] as Json, v);
  const left = Object.keys(walk(copy) as object);
  return Object.keys(walk(whole) as object)
    .filter((k) => !left.includes(k))
    .join();
}

const accepted: string[] = [];
const optional: string[] = [];
const unnamed: string[] = [];
let refused = 0;
for (const [name, { json, call }] of Object.entries(takers)) {
  if (thrown(() => call(json)) !== null) accepted.push(`${name}: refuses what is right`);
  const whole = JSON.parse(json) as Json;
  for (let n = 0; n < json.length; n += n < 200 ? 1 : 97) {
    if (thrown(() => call(json.slice(0, n))) === null) accepted.push(`${name}: a prefix of ${n}`);
    else refused++;
  }
  for (const [at, value] of changed(whole, more)) {
    // The names of a TLS table are not the format's.
    if (at === '.tls.names' || (name === 'setTls' && at === '.names')) continue;
    if (!(thrown(() => call(JSON.stringify(value))) ?? '').includes('unheardOf')) unnamed.push(`${name}${at}`);
    else refused++;
  }
  for (const [at, value] of changed(whole, fewer)) {
    // What may be null may be missing.
    if (thrown(() => call(JSON.stringify(value))) !== null) refused++;
    else optional.push(`${name}${at}: ${missing(whole, value, at)}`);
  }
  for (const [at, value] of changed(whole, others)) {
    // Some of these are right: what counts is that each is taken or refused.
    if (thrown(() => call(JSON.stringify(value))) !== null) refused++;
    else if (at.endsWith('Key')) accepted.push(`${name}${at}`);
  }
  for (const nonsense of [
    '',
    '\u0000',
    '[',
    '{"',
    'nul',
    '1e999',
    '"',
    '[]'.repeat(9),
    '['.repeat(100_000),
    `{"a":${'{"a":'.repeat(10_000)}`,
    '\ud800',
  ])
    if (thrown(() => call(nonsense)) === null) accepted.push(`${name}: ${nonsense.slice(0, 20)}`);
    else refused++;
}
for (const word of ['', 'Load', 'on', 'bbr2', '"load"', '\u0000', 'x'.repeat(1e6)]) {
  if (thrown(() => addon.setRetry(server.handle, word)) === null) accepted.push(`setRetry ${word}`);
  if (thrown(() => addon.setCongestion(server.handle, word)) === null) accepted.push(`setCongestion ${word}`);
}
// No secret is repeated by an error.
const secret = 'c0ffee'.repeat(8);
const leaks = [
  thrown(() => addon.setKeys(server.handle, JSON.stringify({ resetKey: `${secret}x`, tokenKeys: [] }))),
  thrown(() => addon.setKeys(server.handle, JSON.stringify({ resetKey: [secret], tokenKeys: [] }))),
].filter((m) => m === null || m.includes(secret));
server.close();
tell({ accepted, optional, unnamed, refused, leaks, working: await honest(addon) });
