"""Sample services with realistic logs: ECS JSON, plain text, access logs, Python with tracebacks.

Each yields bursts: a stream and one or several lines. Every line contains its number, so that the lines of a container
are unique.
"""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import orjson

Burst = tuple[str, list[bytes]]
"""Lines written together: the stream, and the lines."""

_NAMES = ("order", "basket", "payment", "customer", "invoice", "parcel", "voucher", "refund")
_PATHS = ("/api/orders", "/api/basket", "/static/app.js", "/api/customers", "/", "/api/search")
_AGENTS = ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "curl/8.9.1", "okhttp/4.12.0")
_LONG_LINE_INTERVAL = 4000
_ERROR_INTERVAL = 150


def checkout(random_: random.Random) -> Iterator[Burst]:
    """An ECS logger: JSON with the service's own time, level, trace id; some lines are very long."""
    number = 0
    while True:
        number += 1
        level = random_.choices(("info", "debug", "warn", "error"), (80, 12, 5, 3))[0]
        body = {
            "@timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "log.level": level,
            "message": f"{random_.choice(_NAMES)} {number} {'accepted' if level == 'info' else 'queued for review'}",
            "ecs.version": "1.6.0",
            "log.logger": "shop.Checkout",
            "trace.id": f"{random_.getrandbits(128):032x}",
            "event": {"sequence": number, "duration": random_.randrange(10**6, 10**9)},
            "shop": {"items": random_.randrange(1, 9), "total": round(random_.uniform(1, 500), 2)},
        }
        if number % _LONG_LINE_INTERVAL == 0:
            body["shop.basket"] = " ".join(random_.choices(_NAMES, k=6000))
        yield "stdout", [orjson.dumps(body)]


def catalog(random_: random.Random) -> Iterator[Burst]:
    """Plain text with the service's own time and level."""
    number = 0
    while True:
        number += 1
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
        level = random_.choices(("INFO ", "DEBUG", "WARN "), (85, 10, 5))[0]
        text = f"{at} {level} [worker-{random_.randrange(8)}] shop.catalog.Index - {random_.choice(_NAMES)} {number}"
        yield "stdout", [f"{text} indexed in {random_.randrange(400)} ms, {random_.randrange(90)} left".encode()]


def web(random_: random.Random) -> Iterator[Burst]:
    """Access logs in the combined format."""
    number = 0
    while True:
        number += 1
        at = datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
        status = random_.choices((200, 201, 304, 404, 500), (80, 5, 8, 5, 2))[0]
        client = f"10.{random_.randrange(256)}.{random_.randrange(256)}.{random_.randrange(1, 255)}"
        request = f"GET {random_.choice(_PATHS)}?n={number} HTTP/1.1"
        agent = random_.choice(_AGENTS)
        yield "stdout", [f'{client} - - [{at}] "{request}" {status} {random_.randrange(20000)} "-" "{agent}"'.encode()]


def mailer(random_: random.Random) -> Iterator[Burst]:
    """A Python service: logging's lines on stdout, tracebacks on stderr."""
    number = 0
    while True:
        number += 1
        if number % _ERROR_INTERVAL:
            text = f"INFO:shop.mailer:mail {number} to customer {random_.randrange(10**6)} sent"
            yield "stdout", [text.encode()]
        else:
            yield (
                "stderr",
                [
                    f"ERROR:shop.mailer:mail {number} failed".encode(),
                    b"Traceback (most recent call last):",
                    f'  File "/srv/mailer/send.py", line {number}, in send'.encode(),
                    b"    server.send_message(message)",
                    b'  File "/usr/lib/python3.11/smtplib.py", line 986, in send_message',
                    b"    return self.sendmail(from_addr, to_addrs, flatmsg, mail_options,",
                    f"smtplib.SMTPServerDisconnected: connection {number} closed".encode(),
                ],
            )


SERVICES: dict[str, Callable[[random.Random], Iterator[Burst]]] = {
    "checkout": checkout,
    "catalog": catalog,
    "web": web,
    "mailer": mailer,
}
"""Services by container name."""
