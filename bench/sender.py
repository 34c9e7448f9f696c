"""Sends signed events: ``python -m bench.sender URL SECRET ACCOUNTS RATE SECONDS``.

Sends ``RATE`` events a second over keep-alive connections: the start and the end of each run, over
all connections in turn. Each event is sent at its time, even if earlier ones have no response yet.
Prints one line of JSON: the seconds from each event's time to its response, and the statuses.
"""

import asyncio
import hashlib
import hmac
import json
import sys
from collections import Counter
from datetime import UTC, datetime
from time import perf_counter
from urllib.parse import urlsplit

from dashboard.sandbox.seed import World

CONNECTIONS = 32
FIRST_RUN = 2**62


def requests_of(url: str, secret: str, accounts: int, count: int) -> list[bytes]:
    """Return the requests, head and body, built in advance."""
    world, where, now = World(accounts, 1), urlsplit(url), datetime.now(UTC).isoformat()
    ids = [account.id for account in world.accounts(0, accounts)]
    sources = [
        world.source(id, position) for id in ids for position in range(1, world.count(id) + 1)
    ]
    made = []
    for number in range(count):
        # All runs start, then all end, and so on: a run has ended before the next one starts.
        turn, index = divmod(number, len(sources))
        run, ends = divmod(turn, 2)
        source = sources[index]
        event = {
            "event": "pipeline_run_completed" if ends else "pipeline_run_started",
            "event_id": f"storm-{number}",
            "timestamp": now,
            "account_id": source.account_id,
            "server_id": source.id,
            "pipeline_run_id": FIRST_RUN + run,
            "status": "COMPLETED" if ends else "RUNNING",
        }
        body = json.dumps(event).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        head = (
            f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\n"
            "Content-Type: application/json\r\n"
            f"X-Peliqan-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


async def storm(url: str, made: list[bytes], rate: int) -> dict[str, object]:
    """Send the requests at ``rate`` a second; return times, statuses and the duration."""
    where = urlsplit(url)
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncio.open_connection(where.hostname, where.port))
    times: list[float] = []
    statuses: Counter[str] = Counter()
    began = perf_counter()

    async def send(request: bytes, due: float) -> None:
        reader, writer = await free.get()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        times.append(perf_counter() - due)
        statuses[head.split(b" ", 2)[1].decode()] += 1
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await reader.readexactly(int(line.split(b":")[1]))
        free.put_nowait((reader, writer))

    tasks = []
    for number, request in enumerate(made):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - perf_counter()))
        tasks.append(asyncio.create_task(send(request, due)))
    await asyncio.gather(*tasks)
    return {"times": times, "statuses": statuses, "seconds": perf_counter() - began}


def main() -> None:
    """Send what the command line describes; start when a line arrives on standard input."""
    url, secret, accounts, rate, seconds = sys.argv[1:]
    made = requests_of(url, secret, int(accounts), int(rate) * int(seconds))
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    print(json.dumps(asyncio.run(storm(url, made, int(rate)))), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
