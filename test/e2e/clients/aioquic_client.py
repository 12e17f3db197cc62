"""An HTTP/3 client by aioquic that a test drives with JSON lines on standard input; each answer carries its command's id.

open, request, closed, close, load and halt mean the same as in the quic-go client.
"""

import asyncio
import hashlib
import json
import ssl
import sys
import time

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import Buffer, BufferReadError
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StopSendingReceived, StreamDataReceived, StreamReset
from cryptography.hazmat.primitives.serialization import Encoding

REQUEST_CANCELLED = 0x10C
NO_ERROR = 0x100
BLOCK_SIZE = 65521  # prime: a chunk out of place changes the hash


def make_block():
    block, x = bytearray(BLOCK_SIZE), 2463534242
    for i in range(BLOCK_SIZE):
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        block[i] = x & 0xFF
    return bytes(block)


BLOCK = make_block()


class Failed(Exception):
    def __init__(self, kind, code=0, text="", remote=True):
        super().__init__(text)
        self.facts = {"kind": kind, "code": code, "remote": remote, "text": text or kind}


class ControlWatch:
    """Finds GOAWAY on the server's control stream: aioquic reads past it."""

    def __init__(self):
        self.streams = {}
        self.typed = set()
        self.goaways = []

    def feed(self, stream_id, data):
        if stream_id % 4 != 3 or stream_id > 64:
            return
        held = self.streams.setdefault(stream_id, bytearray())
        if held is None or len(held) > 65536:
            return
        held += data
        while True:
            buf = Buffer(data=bytes(held))
            try:
                if stream_id not in self.typed:
                    if buf.pull_uint_var() != 0:
                        self.streams[stream_id] = None
                        return
                    self.typed.add(stream_id)
                else:
                    kind, size = buf.pull_uint_var(), buf.pull_uint_var()
                    body = buf.pull_bytes(size)
                    if kind == 7:
                        self.goaways.append(Buffer(data=body).pull_uint_var())
            except BufferReadError:
                return
            del held[: buf.tell()]


class Http(H3Connection):
    """aioquic compares content-length with the body even where the request was HEAD (RFC 9114 section 4.1.2 exempts it)."""

    def __init__(self, quic):
        super().__init__(quic)
        self.heads = set()

    def _check_content_length(self, stream):
        if stream.stream_id not in self.heads:
            super()._check_content_length(stream)


class Exchange:
    def __init__(self, loop):
        self.status = None
        self.headers, self.trailers, self.interim = [], [], []
        self.size, self.hash, self.start = 0, hashlib.sha256(), b""
        self.first_byte = None
        self.head = loop.create_future()
        self.done = loop.create_future()
        self.stopped = None
        self.cancel_after = None
        self.cancelled = False

    def fail(self, failure):
        for waiter in (self.head, self.done):
            if not waiter.done():
                waiter.set_exception(failure)
                waiter.exception()


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.h3 = None
        self.watch = ControlWatch()
        self.exchanges = {}
        self.ended = self._loop.create_future()
        self.ready = self._loop.create_future()
        self.progress = asyncio.Event()
        self.closing = False
        self.beating = None

    async def beat(self, every):
        while not self.ended.done() and not self.closing:
            self._quic.send_ping(0)
            self.transmit()
            await asyncio.sleep(every)

    def quic_event_received(self, event):
        if isinstance(event, HandshakeCompleted):
            self.h3 = Http(self._quic)
            self.alpn, self.resumed = event.alpn_protocol, event.session_resumed
            if not self.ready.done():
                self.ready.set_result(None)
        elif isinstance(event, ConnectionTerminated):
            self.terminated(event)
            return
        elif isinstance(event, StreamDataReceived):
            self.watch.feed(event.stream_id, event.data)
        elif isinstance(event, StreamReset) and event.stream_id in self.exchanges:
            self.exchanges[event.stream_id].fail(Failed("stream", event.error_code, f"stream reset with {event.error_code:#x}"))
        elif isinstance(event, StopSendingReceived) and event.stream_id in self.exchanges:
            self.exchanges[event.stream_id].stopped = event.error_code
        if self.h3 is not None:
            for e in self.h3.handle_event(event):
                self.h3_event(e)

    def terminated(self, event):
        application = event.frame_type is None and event.error_code >= NO_ERROR
        kind = "application" if application else "transport"
        if event.reason_phrase == "Idle timeout":
            kind = "idle"
        self.end(Failed(kind, event.error_code, event.reason_phrase, remote=not self.closing))

    def end(self, failure):
        for exchange in list(self.exchanges.values()):
            exchange.fail(failure)
        if not self.ready.done():
            self.ready.set_exception(failure)
        if not self.ended.done():
            self.ended.set_result(failure)

    def h3_event(self, e):
        exchange = self.exchanges.get(getattr(e, "stream_id", None))
        if exchange is None:
            return
        if isinstance(e, HeadersReceived):
            fields = [[k.decode("latin-1"), v.decode("latin-1")] for k, v in e.headers]
            status = next((int(v) for k, v in fields if k == ":status"), None)
            fields = [f for f in fields if not f[0].startswith(":")]
            if status is None:
                exchange.trailers = fields
            elif status < 200:
                exchange.interim.append(status)
            else:
                exchange.status, exchange.headers, exchange.first_byte = status, fields, time.monotonic()
                if not exchange.head.done():
                    exchange.head.set_result(None)
        elif isinstance(e, DataReceived):
            if exchange.size < 8192:
                exchange.start += e.data[: 8192 - exchange.size]
            exchange.size += len(e.data)
            exchange.hash.update(e.data)
            if exchange.cancel_after is not None and exchange.size >= exchange.cancel_after and not exchange.cancelled:
                exchange.cancelled = True
                self.cancel(e.stream_id)
                if not exchange.done.done():
                    exchange.done.set_result(None)
                return
        if e.stream_ended and not exchange.done.done():
            exchange.done.set_result(None)

    def cancel(self, stream_id):
        stream = self._quic._streams.get(stream_id)
        if stream is not None and not stream.receiver.is_finished:
            self._quic.stop_stream(stream_id, REQUEST_CANCELLED)
        if stream is not None and not stream.sender.is_finished and stream.sender._buffer_fin is None:
            self._quic.reset_stream(stream_id, REQUEST_CANCELLED)
        self._loop.call_soon(self.transmit)

    def is_reset(self, data):
        """RFC 9000 section 10.3.1: aioquic itself does not look for stateless resets."""
        quic = self._quic
        if len(data) < 21 or data[0] & 0x80 or quic._close_event is not None:
            return False
        return any(cid.stateless_reset_token == data[-16:] for cid in [quic._peer_cid, *quic._peer_cid_available])

    def datagram_received(self, data, addr):
        if self.ended.done():
            return
        if self.is_reset(data):
            self._timer.cancel()
            self.end(Failed("reset", text="stateless reset"))
        else:
            super().datagram_received(data, addr)
        self.progress.set()

    async def send_body(self, stream_id, spec, exchange):
        """Sends the body with at most 1 MiB waiting; answers its hash."""
        left, offset, digest = spec["body"], 0, hashlib.sha256()
        trailers = [(k.encode(), v.encode()) for k, v in spec.get("trailers") or []]
        while left > 0:
            if exchange.done.done() or exchange.stopped is not None or stream_id not in self._quic._streams:
                return None
            if len(self._quic._streams[stream_id].sender._buffer) > 1 << 20:
                self.progress.clear()
                await self.progress.wait()
                continue
            n = min(left, 32768, BLOCK_SIZE - offset)
            chunk = BLOCK[offset : offset + n]
            offset, left = (offset + n) % BLOCK_SIZE, left - n
            digest.update(chunk)
            self.h3.send_data(stream_id, chunk, left == 0 and not trailers)
            self.transmit()
            await asyncio.sleep(spec.get("sendPauseMs", 0) / 1000)
        if trailers:
            self.h3.send_headers(stream_id, trailers, True)
        elif spec["body"] == 0:
            self.h3.send_data(stream_id, b"", True)
        self.transmit()
        return digest.hexdigest()

    async def request(self, spec):
        if self.watch.goaways:
            raise Failed("goaway", text="connection in graceful shutdown")
        if self.ended.done():
            raise self.ended.result()
        started = time.monotonic()
        stream_id = self._quic.get_next_available_stream_id()
        exchange = self.exchanges[stream_id] = Exchange(self._loop)
        exchange.cancel_after = spec.get("cancelAfter")
        if spec.get("method") == "HEAD":
            self.h3.heads.add(stream_id)
        fields = [(":method", spec.get("method") or "GET"), (":scheme", "https"), (":authority", spec["authority"]), (":path", spec["path"])]
        fields += [tuple(f) for f in spec.get("headers") or []]
        has_body = spec.get("body") is not None
        if has_body and spec.get("declare", True):
            fields.append(("content-length", str(spec["body"])))
        if spec.get("trailers"):
            fields.append(("trailer", ", ".join(name for name, _ in spec["trailers"])))
        sending = None
        try:
            self.h3.send_headers(stream_id, [(k.encode(), v.encode()) for k, v in fields], not has_body)
            self.transmit()
            if has_body:
                sending = self._loop.create_task(self.send_body(stream_id, spec, exchange))
            limit = spec.get("cancelMs") or spec.get("timeoutMs") or 60000
            try:
                await asyncio.wait_for(asyncio.shield(exchange.done), limit / 1000)
            except asyncio.TimeoutError:
                self.cancel(stream_id)
                failure = Failed("cancelled" if spec.get("cancelMs") else "timeout", remote=False)
                if exchange.status is None:
                    raise failure from None
                return self.answer(exchange, started, None) | {"error": failure.facts}
            except Failed as failure:
                if exchange.status is None:
                    raise
                return self.answer(exchange, started, None) | {"error": failure.facts}
            sent = None
            if sending is not None and not exchange.cancelled:
                sent = await asyncio.wait_for(sending, 60)
            return self.answer(exchange, started, sent)
        finally:
            if sending is not None and not sending.done():
                sending.cancel()
            del self.exchanges[stream_id]

    def answer(self, exchange, started, sent):
        return {
            "status": exchange.status,
            "headers": exchange.headers,
            "trailers": exchange.trailers,
            "interim": exchange.interim,
            "size": exchange.size,
            "sha256": exchange.hash.hexdigest(),
            "text": exchange.start.decode("utf-8", "replace"),
            "sent": sent,
            "cancelled": exchange.cancelled,
            "firstByteMs": (exchange.first_byte - started) * 1000 if exchange.first_byte else None,
            "ms": (time.monotonic() - started) * 1000,
        }


async def dial(d):
    host, port = d["address"].rsplit(":", 1)
    conf = QuicConfiguration(is_client=True, alpn_protocols=d.get("alpn") or H3_ALPN, server_name=d.get("name") or None, max_data=16 << 20, max_stream_data=4 << 20)
    conf.idle_timeout = (d.get("idleMs") or 60000) / 1000
    if d.get("ca"):
        conf.load_verify_locations(cafile=d["ca"])
    else:
        conf.verify_mode = ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    host = host.strip("[]")
    _, client = await loop.create_datagram_endpoint(lambda: Client(QuicConnection(configuration=conf)), local_addr=("::1" if ":" in host else "127.0.0.1", 0))
    # As the socket reports it: aioquic compares where datagrams come from.
    client.connect((host, int(port), 0, 0) if ":" in host else (host, int(port)))
    try:
        await asyncio.wait_for(asyncio.shield(client.ready), (d.get("timeoutMs") or 10000) / 1000)
    except asyncio.TimeoutError:
        client._transport.close()
        raise Failed("timeout", remote=False) from None
    if d.get("keepAliveMs"):
        client.beating = loop.create_task(client.beat(d["keepAliveMs"] / 1000))
    return client


class Load:
    """Requests without end on several connections, as the quic-go client does it."""

    def __init__(self):
        self.stopping = False
        self.statuses, self.failures = {}, []
        self.failed = self.refused = self.dials = self.gone = 0
        self.max_ms = 0.0
        self.tasks = []

    def fail(self, failure):
        self.failed += 1
        if len(self.failures) < 10:
            self.failures.append(f"{failure.facts['kind']} {failure.facts['code']}: {failure.facts['text']}")

    async def stream(self, client, spec):
        while not self.stopping:
            try:
                answer = await client.request(spec)
            except Failed as failure:
                if failure.facts["kind"] == "goaway":
                    self.refused += 1
                else:
                    self.fail(failure)
                return
            if "error" in answer:
                self.fail(Failed(answer["error"]["kind"], answer["error"]["code"], answer["error"]["text"]))
                return
            self.statuses[answer["status"]] = self.statuses.get(answer["status"], 0) + 1
            self.max_ms = max(self.max_ms, answer["ms"])

    async def lane(self, cmd, first):
        drained = False
        for dials in range(1000):
            try:
                client = await dial(cmd["dial"])
            except (Failed, OSError) as error:
                failure = error if isinstance(error, Failed) else Failed("refused", text=str(error))
                if not first.done():
                    first.set_exception(failure)
                elif drained:
                    self.gone += 1
                else:
                    self.fail(failure)
                return
            if not first.done():
                first.set_result(None)
            self.dials += 1
            await asyncio.gather(*(self.stream(client, cmd["request"]) for _ in range(cmd["streams"])))
            client.closing = True
            client.close(NO_ERROR)
            if self.stopping:
                return
            drained = drained or bool(client.watch.goaways)

    async def start(self, cmd):
        loop = asyncio.get_running_loop()
        firsts = [loop.create_future() for _ in range(cmd["conns"])]
        self.tasks = [loop.create_task(self.lane(cmd, f)) for f in firsts]
        await asyncio.gather(*firsts)
        return {"ok": True}

    async def halt(self):
        self.stopping = True
        await asyncio.gather(*self.tasks)
        return {"statuses": self.statuses, "failed": self.failed, "failures": self.failures, "refused": self.refused, "dials": self.dials, "gone": self.gone, "maxMs": self.max_ms}


class Driver:
    def __init__(self):
        self.conns, self.loads = {}, {}

    async def run(self, cmd):
        op = cmd["op"]
        if op == "open":
            client = self.conns[cmd["conn"]] = await dial(cmd["dial"])
            leaf = client._quic.tls._peer_certificate.public_bytes(Encoding.DER)
            return {"certificate": hashlib.sha256(leaf).hexdigest(), "alpn": client.alpn, "resumed": client.resumed}
        if op == "load":
            load = self.loads[cmd["id"]] = Load()
            return await load.start(cmd)
        if op == "halt":
            return await self.loads[cmd["load"]].halt()
        client = self.conns.get(cmd["conn"])
        if client is None:
            raise Failed("usage", text=f"no connection named {cmd['conn']}")
        if op == "request":
            return await client.request(cmd["request"])
        if op == "closed":
            how = await client.ended
            return {"how": how.facts, "goaways": client.watch.goaways}
        if op == "close":
            client.closing = True
            client.close(NO_ERROR)
            return {"ok": True}
        raise Failed("usage", text=f"no operation named {op}")

    async def handle(self, cmd):
        try:
            answer = await self.run(cmd)
        except Failed as failure:
            answer = {"error": failure.facts}
        except Exception as error:  # a defect here must be seen by the test, not waited for
            answer = {"error": Failed("other", text=repr(error)).facts}
        sys.stdout.write(json.dumps({"id": cmd["id"]} | answer) + "\n")
        sys.stdout.flush()


async def main():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=16 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    driver, running = Driver(), set()
    while line := await reader.readline():
        task = loop.create_task(driver.handle(json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)


if __name__ == "__main__":
    asyncio.run(main())
