"""A client by aioquic that keeps to the rules until its test tells it which to break: the operations of aioquic_client.py, and `flood`.

A flood builds packets itself, behind aioquic's back: what it sends is not retransmitted, and while it is `mute` nothing is acknowledged.
"""

import asyncio
import socket

import aioquic_client
from aioquic.buffer import Buffer
from aioquic.quic.connection import QuicConnectionId
from aioquic.tls import Epoch

PAYLOAD = 1150  # of one packet
BURST = 32

PADDING, ACK, CRYPTO, NEW_CONNECTION_ID, RETIRE_CONNECTION_ID, PATH_CHALLENGE = 0x00, 0x02, 0x06, 0x18, 0x19, 0x1A


def varints(*values):
    buf = Buffer(capacity=8 * len(values))
    for value in values:
        buf.push_uint_var(value)
    return buf.data


def path_challenge(n):
    return varints(PATH_CHALLENGE) + n.to_bytes(8, "big")


def id_and_token(sequence):
    return sequence.to_bytes(8, "big"), sequence.to_bytes(16, "big")


def new_connection_id(sequence, retire_prior_to):
    return varints(NEW_CONNECTION_ID, sequence, retire_prior_to) + bytes([8]) + b"".join(id_and_token(sequence))


def crypto(offset, size):
    return varints(CRYPTO, offset, size) + bytes(size)


def acknowledge(first, last):
    return varints(ACK, last, 0, 0, last - first)


class Nowhere:
    def sendto(self, data, addr=None):
        pass


class Hostile(aioquic_client.Client):
    mute = False

    def transmit(self):
        if not self.mute:
            return super().transmit()
        # aioquic goes on, timers and all; only what it sends goes nowhere.
        real, self._transport = self._transport, Nowhere()
        try:
            super().transmit()
        finally:
            self._transport = real

    def be_optimistic(self):
        """From now on everything up to the latest packet is acknowledged, whether it came or not."""
        receive, spaces = self._quic.receive_datagram, self._quic._spaces

        def receive_all(*args, **kwargs):
            receive(*args, **kwargs)
            received = spaces[Epoch.ONE_RTT].ack_queue
            if len(received) > 0:
                received.add(0, received.bounds().stop)

        self._quic.receive_datagram = receive_all

    def be_patient(self):
        """What the server retires is right, again and again: whoever acknowledges nothing hears everything twice."""
        handlers = self._quic._QuicConnection__frame_handlers
        handlers[RETIRE_CONNECTION_ID] = (lambda context, frame_type, buf: buf.pull_uint_var(), handlers[RETIRE_CONNECTION_ID][1])

    def packet(self, payload):
        quic = self._quic
        keys, number = quic._cryptos[Epoch.ONE_RTT], quic._packet_number
        quic._packet_number += 1
        header = bytes([0x41 | keys.key_phase << 2]) + quic._peer_cid.cid + (number & 0xFFFF).to_bytes(2, "big")
        return keys.encrypt_packet(header, payload.ljust(64, b"\0"), number)

    def send(self, payload):
        self._transport.sendto(self.packet(payload), self._quic._network_paths[0].addr)

    # What a flood consists of: each yields the payloads of its packets.

    def path_challenges(self, frames):
        """PATH_CHALLENGE in every byte of every packet."""
        per_packet = PAYLOAD // 9
        for at in range(0, frames, per_packet):
            yield b"".join(path_challenge(n) for n in range(at, at + per_packet))

    def ids_beyond_limit(self, frames):
        """Ids of ours, more than the server said that it keeps, and none retired."""
        for n in range(100, 100 + frames):
            yield new_connection_id(n, 0)

    def ids_retiring_all(self, frames):
        """Each id retires all before it: each asks for a RETIRE_CONNECTION_ID."""
        per_packet = PAYLOAD // 32
        for at in range(100, 100 + frames, per_packet):
            ids = range(at, at + per_packet)
            # What is sent to these must be understood: how the connection ends is said to one of them.
            self._quic._host_cids += [QuicConnectionId(*id_and_token(n)[:1], n, id_and_token(n)[1], True) for n in ids]
            yield b"".join(new_connection_id(n, n) for n in ids)

    def crypto_with_a_gap(self, frames):
        """The handshake is over, and its stream goes on without its next byte."""
        for n in range(frames):
            yield crypto(1 + n * 1100, 1100)

    def crypto_far_away(self, frames):
        """One byte each, a mebibyte apart."""
        for n in range(frames):
            yield crypto((n + 1) << 20, 1)

    def ack_of_nothing(self, frames):
        """Packets that were never sent."""
        for n in range(frames):
            yield acknowledge(1_000_000 + n, 2_000_000 + n)

    async def flood(self, what, frames):
        sent = 0
        for payload in getattr(self, what)(frames):
            if self.ended.done():
                break
            self.send(payload)
            sent += 1
            if sent % BURST == 0:
                await asyncio.sleep(0.001)
        return sent

    async def retire_all(self, frames):
        """Gives back every id of the server's as soon as it comes, and acknowledges nothing: each asks for another."""
        quic, sent, silent = self._quic, 0, 0
        while sent < frames and silent < 300 and not self.ended.done():
            ids = [cid.sequence_number for cid in quic._peer_cid_available]
            quic._peer_cid_available = []
            for n in ids:
                self.send(varints(RETIRE_CONNECTION_ID, n))
            sent, silent = sent + len(ids), 0 if ids else silent + 1
            await asyncio.sleep(0.001)
        return sent

    async def many_addresses(self, frames):
        """A genuine packet with a PATH_CHALLENGE from each of so many ports; answers the bytes out, and the most that one port got back per byte."""
        to, loop, worst = self._quic._network_paths[0].addr, asyncio.get_running_loop(), 0.0
        for at in range(0, frames, BURST):
            sockets = []
            for n in range(at, min(frames, at + BURST)):
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                s.setblocking(False)
                s.bind(("127.0.0.9", 0))
                packet = self.packet(path_challenge(n).ljust(PAYLOAD, b"\0"))
                await loop.sock_sendto(s, packet, to)
                sockets.append((s, len(packet)))
            await asyncio.sleep(0.05)
            for s, size in sockets:
                got = 0
                try:
                    while True:
                        got += len(s.recv(65536))
                except BlockingIOError:
                    worst = max(worst, got / size)
                s.close()
        return worst


class Driver(aioquic_client.Driver):
    async def run(self, cmd):
        if cmd["op"] != "flood":
            return await super().run(cmd)
        client, what = self.conns[cmd["conn"]], cmd["what"]
        client.mute = cmd.get("mute", False)
        client.be_patient()
        if what == "optimistic":
            client.be_optimistic()
            return {"sent": 0}
        if what in ("retire_all", "many_addresses"):
            return {"sent": await getattr(client, what)(cmd["frames"])}
        return {"sent": await client.flood(what, cmd["frames"])}


aioquic_client.Client = Hostile
aioquic_client.Driver = Driver
asyncio.run(aioquic_client.main())
