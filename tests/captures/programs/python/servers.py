"""Serves one failing and one working path by a web server, named by the argument; requests both; ends."""

import asyncio
import contextlib
import logging
import sys
import threading
import time
import urllib.error
import urllib.request

PORT = 8099


def get(*paths: str) -> None:
    """Request each path."""
    for path in paths:
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}").read()


def uvicorn() -> None:
    """Uvicorn with FastAPI."""
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()

    @app.get("/orders/4711")
    def order() -> dict[str, int]:
        return {"id": 4711}

    @app.get("/fail")
    def fail() -> None:
        raise ValueError("card declined")

    server = uvicorn.Server(uvicorn.Config(app, port=PORT))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    get("/orders/4711", "/fail")
    server.should_exit = True
    thread.join()


def aiohttp() -> None:
    """aiohttp with its access log."""
    from aiohttp import web

    async def order(request: web.Request) -> web.Response:
        return web.Response(text="4711")

    async def fail(request: web.Request) -> web.Response:
        raise ValueError("card declined")

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/orders/4711", order)
        app.router.add_get("/fail", fail)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", PORT).start()
        await asyncio.to_thread(get, "/orders/4711", "/fail")
        await runner.cleanup()

    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())


def flask() -> None:
    """Flask's development server."""
    from flask import Flask
    from werkzeug.serving import make_server

    app = Flask("shop")

    @app.get("/orders/4711")
    def order() -> str:
        return "4711"

    @app.get("/fail")
    def fail() -> str:
        raise ValueError("card declined")

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    server = make_server("127.0.0.1", PORT, app)
    threading.Thread(target=server.serve_forever).start()
    get("/orders/4711", "/fail")
    server.shutdown()


def tornado() -> None:
    """Tornado with its access log."""
    from tornado.log import enable_pretty_logging
    from tornado.web import Application, RequestHandler

    class Order(RequestHandler):
        def get(self) -> None:
            self.write("4711")

    class Fail(RequestHandler):
        def get(self) -> None:
            raise ValueError("card declined")

    async def main() -> None:
        Application([("/orders/4711", Order), ("/fail", Fail)]).listen(PORT, "127.0.0.1")
        await asyncio.to_thread(get, "/orders/4711", "/fail")

    enable_pretty_logging()
    logging.getLogger().setLevel(logging.INFO)
    asyncio.run(main())


def gunicorn() -> None:
    """gunicorn with its access log on standard output."""
    import subprocess

    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--chdir",
        "python",
        "-b",
        f"127.0.0.1:{PORT}",
        "--access-logfile",
        "-",
    ]
    process = subprocess.Popen([*command, "servers:wsgi"])
    time.sleep(2)
    get("/orders/4711", "/fail")
    process.terminate()
    process.wait()


def wsgi(environ: dict[str, str], start_response: object) -> list[bytes]:
    """The application for gunicorn."""
    if environ["PATH_INFO"] == "/fail":
        raise ValueError("card declined")
    start_response("200 OK", [("Content-Type", "text/plain")])  # type: ignore[operator]
    return [b"4711"]


if __name__ == "__main__":
    globals()[sys.argv[1]]()
