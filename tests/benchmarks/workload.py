"""Log files for the performance budgets: lines of 200 to 260 bytes, 1 % partials, 1 % stack traces, five formats."""

import random
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.parsing import timestamp
from tests.benchmarks import lines as lines_

Line = Callable[[random.Random, int], str]


def write(root: Path, lines: int, files: int = 10, seed: int = 1) -> int:
    """Write this many lines over the files, half with JSON bodies, half with text; return the bytes written."""
    return sum(_file(root, number, lines // files, random.Random(seed + number)) for number in range(files))


def _file(root: Path, number: int, lines: int, random_: random.Random) -> int:
    directory = root / f"shop_app-{number}_{number:08d}-1111-2222-3333-444444444444" / "app"
    directory.mkdir(parents=True)
    path = directory / "0.log"
    at = time.time_ns() - lines * 500_000
    line = lines_.ecs if number % 2 == 0 else lines_.FORMATS[number // 2 % len(lines_.FORMATS)]
    with path.open("wb") as out:
        written = 0
        while written < lines:
            burst = _burst(random_, line, at)
            for stream, tag, content in burst:
                at += 500_000
                out.write(f"{timestamp.format_utc(at)} {stream} {tag} {content}\n".encode())
            written += len(burst)
    return path.stat().st_size


def _burst(random_: random.Random, line: Line, at: int) -> list[tuple[str, str, str]]:
    drawn = random_.random()
    if drawn < 0.01 / 6:
        frames = [
            f"\tat com.example.shop.Service{random_.randrange(99)}.call(Service.java:{n}) {'x' * 150}" for n in range(5)
        ]
        return [("stderr", "F", text) for text in (f"java.lang.IllegalStateException: boom {at}", *frames)]
    text = line(random_, at)
    if drawn < 0.01:
        return [("stdout", "P", text[:100]), ("stdout", "F", text[100:])]
    return [("stdout", "F", text)]
