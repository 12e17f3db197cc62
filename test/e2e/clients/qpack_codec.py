"""Encodes and decodes QPACK with ls-qpack, dynamic table capacity 0: JSON lines in, JSON lines out."""
import json
import sys

import pylsqpack


def encode(pairs):
    encoder = pylsqpack.Encoder()
    encoder.apply_settings(0, 0)
    instructions, section = encoder.encode(0, [(bytes.fromhex(n), bytes.fromhex(v)) for n, v in pairs])
    return {"instructions": instructions.hex(), "section": section.hex()}


def decode(section):
    decoder = pylsqpack.Decoder(0, 0)
    try:
        _, headers = decoder.feed_header(0, bytes.fromhex(section))
    except pylsqpack.DecompressionFailed:
        return {"error": "decompression failed"}
    except pylsqpack.StreamBlocked:
        return {"error": "blocked"}
    return {"pairs": [[n.hex(), v.hex()] for n, v in headers]}


for line in sys.stdin:
    job = json.loads(line)
    result = encode(job["encode"]) if "encode" in job else decode(job["decode"])
    print(json.dumps(result))
