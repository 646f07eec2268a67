#!/usr/bin/env python3
"""Writes the seed corpus of the store's fuzz targets from the recorded wire sessions: make_store_corpus.py OUT_DIR.

One file per recorded connection: for the decoder, a header that picks dialect and splits, then what the client sent.
For the session target any bytes are a script; a few regular ones are a start.
"""

import json
import sys
from pathlib import Path

DATA = Path(__file__).parent.parent / "data" / "wire"


def main():
    out = Path(sys.argv[1])
    (out / "decoder").mkdir(parents=True, exist_ok=True)
    (out / "session").mkdir(parents=True, exist_ok=True)
    for path in sorted(DATA.glob("*.json")):
        streams = {}
        for step in json.loads(path.read_text()):
            for event in step["bytes"]:
                if event["from"] == "client" and event["hex"] != "EOF":
                    streams.setdefault(event["conn"], b"")
                    streams[event["conn"]] += bytes.fromhex(event["hex"])
        for connection, stream in streams.items():
            for expected in range(3):
                header = bytes([expected, 0, 3, 1, 7, 30, 2, 11, 5])
                (out / "decoder" / f"{path.stem}-{connection}-{expected}").write_bytes(header + stream)
                (out / "decoder" / f"{path.stem}-{connection}-{expected}-short").write_bytes(header + stream[:60])
    for seed in range(8):
        script = bytes((seed * 7 + index * index * 31 + index * 5) % 256 for index in range(200))
        (out / "session" / f"regular-{seed}").write_bytes(bytes([seed % 4, (seed + 1) % 4, 3]) + script)


if __name__ == "__main__":
    main()
