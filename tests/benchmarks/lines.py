"""Sample lines of containers for the performance budgets: 200 to 260 bytes, JSON (ECS) and text in five formats."""

import random
import time
from collections.abc import Callable

import orjson

from pipeline.parsing import timestamp

_TEXT = (
    "the order of a customer was started then processed by payment and its state kept until every request that "
    "was ready had been handled in the database while the service waited for what the basket value would be"
)
_WORDS = _TEXT.split()
_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"


def text(random_: random.Random, words: int) -> str:
    """Return random words."""
    return " ".join(random_.choices(_WORDS, k=words))


def ecs(random_: random.Random, at: int) -> str:
    """Return a line of an ECS logger."""
    body = {
        "@timestamp": timestamp.format_utc(at)[:23] + "Z",
        "log.level": random_.choice(("info", "info", "info", "debug", "warn")),
        "message": text(random_, 12),
        "ecs.version": "1.6.0",
        "log.logger": "shop.Main",
        "trace.id": f"{random_.getrandbits(128):032x}",
    }
    return orjson.dumps(body).decode()


def _logback(random_: random.Random, at: int) -> str:
    clock = timestamp.format_utc(at)[:23].replace("T", " ")
    return f"{clock} INFO  [http-nio-8080-exec-{random_.randrange(9)}] c.e.shop.OrderService - {text(random_, 22)}"


def _klog(random_: random.Random, at: int) -> str:
    clock = timestamp.format_utc(at)
    head = f"I{clock[5:7]}{clock[8:10]} {clock[11:26]}       1 controller.go:{random_.randrange(999)}]"
    return f'{head} "{text(random_, 25)}"'


def _logfmt(random_: random.Random, at: int) -> str:
    return f'time="{timestamp.format_utc(at)[:19]}Z" level=info msg="{text(random_, 22)}" component=cri'


def _access(random_: random.Random, at: int) -> str:
    clock = time.strftime("%d/%b/%Y:%H:%M:%S", time.gmtime(at // 10**9))
    path = f"/shop/orders/{random_.randrange(10**6)}?page={random_.randrange(9)}"
    return f'10.0.{random_.randrange(9)}.7 - - [{clock} +0000] "GET {path} HTTP/1.1" 200 612 "-" "{_AGENT}"'


def _plain(random_: random.Random, _: int) -> str:
    return text(random_, 30)


FORMATS: tuple[Callable[[random.Random, int], str], ...] = (_logback, _klog, _logfmt, _access, _plain)
