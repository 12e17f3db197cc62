/** What this layer costs a request, between a client's stream and a backend's that do nothing. */
import type { BackendSession, Connect } from '../../src/edge/backends/index.ts';
import { Fields } from '../../src/edge/http/fields.ts';
import type { ClientRequest, ClientStream, RequestHead, ResponseHandler, ServerStream } from '../../src/edge/http/message.ts';
import { Exchange } from '../../src/edge/proxy/exchange.ts';
import { cleanRequest } from '../../src/edge/proxy/headers.ts';
import type { Peer } from '../../src/edge/proxy/peer.ts';
import type { Plant } from '../../src/edge/proxy/plant.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { TimerWheel } from '../../src/lib/wheel.ts';
import { FakeConnection, Rig } from '../edge/proxy/fakes.ts';
import type { Case } from './run.ts';

class IdleStream implements ClientStream {
  write(): boolean {
    return true;
  }
  end(): void {}
  cancel(): void {}
  pause(): void {}
  resume(): void {}
}

const idle = new IdleStream();
let handler: ResponseHandler;

class IdleSession implements BackendSession {
  capacity = 1000;
  active = 0;
  opened = 0;
  answered = 0;
  taken = -1;
  writing = false;
  open(_request: ClientRequest, _end: boolean, h: ResponseHandler): boolean {
    handler = h;
    h.onRequestSent(idle);
    return true;
  }
  shutdown(): void {}
  destroy(): void {}
}

const connect: Connect = (_target, _timeoutMs, events) => {
  events.onReady(new IdleSession());
  return () => {};
};

class SilentStream implements ServerStream {
  readonly id = 0;
  readonly connection: FakeConnection;
  readonly head: RequestHead;
  bytesIn = 0;
  bytesOut = 0;
  constructor(connection: FakeConnection, head: RequestHead) {
    this.connection = connection;
    this.head = head;
  }
  inform(): void {}
  respond(): void {}
  respondEncoded(): void {}
  write(): boolean {
    return true;
  }
  end(): void {}
  reset(): void {}
  ignoreRequest(): void {}
  pause(): void {}
  resume(): void {}
}

const NAMES = ['user-agent', 'accept', 'accept-encoding', 'accept-language', 'cookie', 'priority'];
const VALUES = ['Mozilla/5.0 (X11; Linux x86_64)', '*/*', 'gzip, br', 'en', 'session=1', 'u=1'];
const RESPONSE_NAMES = ['content-type', 'content-length', 'cache-control', 'server'];
const RESPONSE_VALUES = ['text/plain', '100', 'no-store', 'backend'];

const list = (names: readonly string[], values: readonly string[]): Fields => {
  const f = new Fields();
  for (let i = 0; i < names.length; i++) f.add(names[i] as string, values[i] as string);
  return f;
};

const body = Buffer.alloc(100, 'x');

function surroundings(accessLog: 'off' | 'all'): { rig: Rig; plant: Plant } {
  const rig = new Rig({ endpoints: 3, accessLog, connect });
  rig.lines.push = () => 0;
  const wheel = new TimerWheel(systemClock, (e) => {
    throw e;
  });
  return { rig, plant: { ...rig.plant, clock: systemClock, wheel } };
}

function get({ rig, plant }: ReturnType<typeof surroundings>, chunk: Uint8Array): void {
  const stream = new SilentStream(rig.connection, {
    method: 'GET',
    scheme: 'https',
    authority: 'api.example.com',
    path: '/api/v1/orders?page=2',
    fields: list(NAMES, VALUES),
    contentLength: -1,
    urgency: 3,
    incremental: false,
    bytes: 300,
    startedAt: systemClock.now(),
  });
  const x = new Exchange(plant, rig.view, rig.connection.data as Peer, stream);
  x.begin(true, null);
  handler.onResponse(200, list(RESPONSE_NAMES, RESPONSE_VALUES));
  handler.onResponseBody(chunk, 0, chunk.length);
  handler.onResponseEnd(null);
  x.onResponseSent();
}

const quiet = surroundings('off');
const logged = surroundings('all');
const drops = quiet.plant.drops;
const clean = list(NAMES, VALUES);

export const cases: readonly Case[] = [
  {
    name: 'proxy: GET with six fields, answered with 100 bytes',
    run(n) {
      for (let i = 0; i < n; i++) get(quiet, body);
    },
  },
  {
    name: 'proxy: the same, with its line in the access log',
    run(n) {
      for (let i = 0; i < n; i++) get(logged, body);
    },
  },
  {
    name: 'proxy: field policy on six fields that all pass',
    run(n) {
      for (let i = 0; i < n; i++) cleanRequest(clean, false, drops);
    },
  },
];
