"""Log files as the budgets name them: lines of 200 to 260 bytes, 1 % partials, 1 % stack traces."""

import random
import time
from pathlib import Path

import orjson

from pipeline.message import apptime

_TEXT = (
    "the order of a customer was started then processed by payment and its state kept until every request that "
    "was ready had been handled in the database while the service waited for what the basket value would be"
)
_WORDS = _TEXT.split()


def write(root: Path, lines: int, files: int = 10, seed: int = 1) -> int:
    """Write that many lines over the files, half of them with JSON bodies; returns the bytes written."""
    return sum(_file(root, number, lines // files, random.Random(seed + number)) for number in range(files))


def _file(root: Path, number: int, lines: int, random_: random.Random) -> int:
    directory = root / f"shop_app-{number}_{number:08d}-1111-2222-3333-444444444444" / "app"
    directory.mkdir(parents=True)
    path = directory / "0.log"
    at = time.time_ns() - lines * 500_000
    with path.open("wb") as out:
        written = 0
        while written < lines:
            burst = _burst(random_, json=number % 2 == 0, at=at)
            for stream, tag, content in burst:
                at += 500_000
                out.write(f"{apptime.text(at)} {stream} {tag} {content}\n".encode())
            written += len(burst)
    return path.stat().st_size


def _burst(random_: random.Random, *, json: bool, at: int) -> list[tuple[str, str, str]]:
    drawn = random_.random()
    if drawn < 0.01 / 6:
        frames = [
            f"\tat com.example.shop.Service{random_.randrange(99)}.call(Service.java:{n}) {'x' * 150}" for n in range(5)
        ]
        return [("stderr", "F", text) for text in (f"java.lang.IllegalStateException: boom {at}", *frames)]
    text = " ".join(random_.choices(_WORDS, k=34 if not json else 12))
    if json:
        body = {
            "@timestamp": apptime.text(at)[:23] + "Z",
            "log.level": random_.choice(("info", "info", "info", "debug", "warn")),
            "message": text,
            "ecs.version": "1.6.0",
            "log.logger": "shop.Main",
            "trace.id": f"{random_.getrandbits(128):032x}",
        }
        text = orjson.dumps(body).decode()
    if drawn < 0.01:
        return [("stdout", "P", text[:100]), ("stdout", "F", text[100:])]
    return [("stdout", "F", text)]
