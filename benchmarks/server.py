"""How quick `vitrine serve` is: a 400x533 JPEG to what it shows and its 12 look-alikes among 70,000, in one request.

    VITRINE_DATA=... python benchmarks/server.py [--requests 100000] [--json]

The server is a process of its own, the clients are another; all share the cores that this program may use. A client
sends its next picture once it has its answer, over one connection. The pictures are 64 test items as shop photos, each
in another colour. Measured are: the cold start, from the start of the process to its first answer; one client; eight
clients; where the time of one client's answers goes, by the server's own /metrics; the memory after each tenth of
--requests requests of eight clients.
"""

import argparse
import asyncio
import io
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from PIL import Image

from vitrine import demo
from vitrine.catalogue import local
from vitrine.cli import output
from vitrine.datasets import drawn_garments, fashion_mnist
from vitrine.errors import DownloadError

CATALOGUE, K, PICTURES, CLIENTS = "fashion-mnist", 12, 64, 8
STAGES = ("decode", "model", "search")
_SERVE = "import signal, vitrine.cli; signal.signal(signal.SIGINT, signal.default_int_handler); vitrine.cli.main()"
_BOUNDARY = "a-boundary-of-the-benchmark"


@dataclass(frozen=True)
class Server:
    """A running `vitrine serve`. seconds: from its start to its first answer."""

    process: "subprocess.Popen[str]"
    port: int
    seconds: float

    def memory(self) -> float:
        """MB of memory of its own that it holds now, files that it looks into not counted; Linux only."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"RssAnon:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else float("nan")

    def processor(self) -> float:
        """Seconds of the processor that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def told(self) -> dict[str, float]:
        """/metrics, name with labels -> number."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            lines = [line.rpartition(" ") for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}


def photos() -> list[bytes]:
    """JPEGs of 400x533: test items as shop photos."""
    try:
        images = fashion_mnist.load().test.images
    except DownloadError:
        images = drawn_garments.load(train=10, test=PICTURES).test.images
    random = np.random.default_rng(0)
    found = []
    for image in images[:PICTURES]:
        item = np.asarray(Image.fromarray(image[..., 0]).resize((400, 400), Image.Resampling.BICUBIC))
        shot = np.full((533, 400, 3), 255, np.uint8)
        shot[66:466] = 255 - item[..., None] * random.uniform(0.4, 1, 3)
        written = io.BytesIO()
        Image.fromarray(shot).save(written, "JPEG", quality=90)
        found.append(written.getvalue())
    return found


def request(photo: bytes) -> bytes:
    """A search for that picture as it goes over the wire."""
    parts = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="k"\r\n\r\n{K}\r\n'
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = parts.encode() + photo + f"\r\n--{_BOUNDARY}--\r\n".encode()
    head = (
        "POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@contextmanager
def serving(first: bytes) -> Iterator[Server]:
    """A server that has answered its first request; at the end it is stopped by Ctrl-C."""
    start = time.perf_counter()
    command = [sys.executable, "-c", _SERVE, "serve", "--port", "0", "--catalogue", CATALOGUE]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            found = re.search(r":(\d+)/", said)
            if found is None:
                sys.exit(said + process.stderr.read())
            asyncio.run(_client(int(found[1]), [first], 1, []))
            yield Server(process, int(found[1]), time.perf_counter() - start)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


async def _client(port: int, requests: Sequence[bytes], count: int, seconds: list[float]) -> None:
    """So many requests over one connection, one after the other; their times are put into `seconds`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(count):
        start = time.perf_counter()
        writer.write(requests[number % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if not head.startswith(b"HTTP/1.1 200") or length is None:
            sys.exit(f"The server answers: {head.decode()}")
        await reader.readexactly(int(length[1]))
        seconds.append(time.perf_counter() - start)
    writer.close()


def load(port: int, requests: list[bytes], clients: int, count: int) -> tuple[list[float], float]:
    """The times of so many requests of so many clients, and of all together, in seconds."""

    async def all_of_them() -> None:
        shifted = [requests[i * len(requests) // clients :] + requests for i in range(clients)]
        await asyncio.gather(*(_client(port, shifted[i], count // clients, seconds) for i in range(clients)))

    seconds: list[float] = []
    start = time.perf_counter()
    asyncio.run(all_of_them())
    return seconds, time.perf_counter() - start


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Milliseconds."""
    p50, p99 = np.quantile(seconds, (0.5, 0.99)) * 1000
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}


def one_client(server: Server, requests: list[bytes], count: int) -> Iterator[dict[str, object]]:
    load(server.port, requests, 1, count // 4)
    before, used = server.told(), server.processor()
    seconds, _ = load(server.port, requests, 1, count)
    after, used = server.told(), server.processor() - used
    yield {"what": "one client", "requests": count, **quantiles(seconds)}
    parts = {stage: _sum(after, before, f'vitrine_stage_seconds_sum{{stage="{stage}"}}') / count for stage in STAGES}
    inside = _sum(after, before, 'vitrine_request_seconds_sum{method="POST",route="/api/search"}') / count
    parts |= {"http, forms, threads": inside - sum(parts.values()), "outside": float(np.mean(seconds)) - inside}
    shares = {name: round(value * 1000, 2) for name, value in parts.items()}
    yield {"what": "where the time goes, ms", **shares, "processor": round(used / count * 1000, 2)}


def _sum(after: dict[str, float], before: dict[str, float], name: str) -> float:
    return after.get(name, 0.0) - before.get(name, 0.0)


def many_clients(server: Server, requests: list[bytes], count: int) -> dict[str, object]:
    seconds, whole = load(server.port, requests, CLIENTS, count)
    rate = {"requests_per_second": round(len(seconds) / whole, 1)}
    return {"what": f"{CLIENTS} clients", "requests": len(seconds), **rate, **quantiles(seconds)}


def memory(server: Server, requests: list[bytes], count: int) -> Iterator[dict[str, object]]:
    for tenth in range(1, 11):
        load(server.port, requests, CLIENTS, count // 10)
        yield {"what": "memory", "requests": tenth * count // 10, "mb": round(server.memory(), 1)}


def measure(count: int, starts: int) -> Iterator[dict[str, object]]:
    requests = [request(photo) for photo in photos()]
    cold = []
    for _ in range(starts):
        with serving(requests[0]) as server:
            cold.append(round(server.seconds, 2))
    yield {"what": "cold start to the first answer, s", "least": min(cold), "most": max(cold), "turns": starts}
    with serving(requests[0]) as server:
        yield from one_client(server, requests, 400)
        for _ in range(3):
            yield many_clients(server, requests, 1600)
        yield from memory(server, requests, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=5000, help="for the memory")
    parser.add_argument("--starts", type=int, default=3, help="cold starts")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not local.exists(CATALOGUE):
        demo.collect(output.stage, output.say)
    with local.LocalCatalogue.open(CATALOGUE) as opened:
        items = len(opened)
    cores = len(os.sched_getaffinity(0))
    machine = f"{platform.machine()}, {cores} cores, load {os.getloadavg()[0]:.1f}"
    for line in ({"items": items, "k": K, "machine": machine}, *measure(given.requests, given.starts)):
        print(
            json.dumps(line) if given.json else ", ".join(f"{key} {value}" for key, value in line.items()), flush=True
        )


if __name__ == "__main__":
    main()
