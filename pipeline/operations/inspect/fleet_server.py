"""Serves the page of the fleet: `/`, `/fleet.json`, `/process/ADDRESS/` and its `status.json`, `/livez`, `/readyz`.

The statuses are read in rounds; requests are answered from the last one. While none succeeds, the page is critical.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import orjson

from pipeline.errors import CrispError
from pipeline.monitoring.http_server import HttpServer, Response, Route, health_response
from pipeline.operations.inspect import fleet_page
from pipeline.operations.inspect.fleet import Process
from pipeline.operations.inspect.overview import Overview

MIN_PAUSE_SECONDS = 5.0
STALE_SECONDS = 180.0
"""More than the longest round and its pause."""
UNREADY = "the statuses have not been read yet"

log = logging.getLogger(__name__)


class FleetServer:
    """Call `run`; it reads and serves until it is cancelled."""

    def __init__(self, gather: Callable[[], Awaitable[Overview]]) -> None:
        self._gather = gather
        self._overview: Overview | None = None
        self._processes: dict[str, Process] = {}
        self._round_at = time.monotonic()
        self._server = HttpServer(self._find)

    def start(self, host: str, port: int) -> int:
        """Listen; return the port, 0 if nothing can listen there: that is logged."""
        return self._server.start(host, port)

    async def run(self) -> None:
        """Read the statuses again and again; the more there are, the longer the pause."""
        try:
            while True:
                started_at = time.monotonic()
                try:
                    self._set(await self._gather())
                except CrispError as error:
                    log.error("the statuses cannot be read, retrying: %s", error)
                self._round_at = time.monotonic()
                await asyncio.sleep(max(MIN_PAUSE_SECONDS, self._round_at - started_at))
        finally:
            self._server.stop()

    def _set(self, overview: Overview) -> None:
        self._processes = {process.address: process for process in overview.processes}
        self._overview = overview

    def _find(self, path: str) -> Route | None:
        match path:
            case "/":
                return self._page
            case "/fleet.json":
                return self._json
            case "/livez":
                return lambda _: health_response(self._liveness_problem())
            case "/readyz":
                return lambda _: health_response("" if self._overview else UNREADY)
        if not path.startswith(f"/{fleet_page.PROCESS_PATH}"):
            return None
        address, _, file = path.removeprefix(f"/{fleet_page.PROCESS_PATH}").partition("/")
        process = self._processes.get(unquote(address))
        overview = self._overview
        if process is None or overview is None:
            return None
        if file == "status.json":
            return lambda _: Response("200 OK", "application/json", orjson.dumps(process.status))
        return (lambda query: fleet_page.render_process(process, overview.time, query)) if not file else None

    def _page(self, query: str) -> Response:
        if self._overview is None:
            return health_response(UNREADY)
        return fleet_page.render(self._overview, self._stale_seconds(self._overview), query)

    def _json(self, _: str) -> Response:
        if self._overview is None or self._stale_seconds(self._overview):
            return health_response(UNREADY if self._overview is None else "the statuses are too old")
        return Response("200 OK", "application/json", orjson.dumps(fleet_page.report(self._overview)))

    @staticmethod
    def _stale_seconds(overview: Overview) -> float:
        """How old the state is; 0 while that is in order."""
        age = time.time() - overview.time
        return age if age > STALE_SECONDS else 0.0

    def _liveness_problem(self) -> str:
        age = time.monotonic() - self._round_at
        return f"no round for {age:.0f} s" if age > STALE_SECONDS else ""
