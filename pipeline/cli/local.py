"""`crisp local up|down|status`: start and stop a local Kafka and Elasticsearch."""

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from pipeline.errors import StackError
from pipeline.local import artifacts, elasticsearch
from pipeline.local.process import stop_session
from pipeline.local.stack import DEFAULT_VERSION, Stack

_SERVERS = ("kafka", "elasticsearch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("action", choices=("up", "down", "status"), help="start, stop or show the servers")
    parser.add_argument(
        "--es-version",
        default=DEFAULT_VERSION,
        choices=artifacts.ELASTICSEARCH_VERSIONS,
        help="Elasticsearch version to run",
    )
    parser.add_argument("--json", action="store_true", help="print the state as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Return 0; for `status` 1 unless both servers run."""
    if args.action == "up":
        return _up(args.es_version, as_json=args.json)
    if args.action == "down":
        return _down(as_json=args.json)
    state = _read_state()
    running = {name: _is_running(state.get(f"{name}_pid", 0)) for name in _SERVERS}
    _show({**state, "running": running} if state or args.json else {}, as_json=args.json)
    return 0 if all(running.values()) else 1


def _state_directory() -> Path:
    return Path(tempfile.gettempdir(), f"crisp-local-{os.getuid()}")


def _read_state() -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((_state_directory() / "state.json").read_text())
    except FileNotFoundError:
        return {}
    return state


def _up(version: str, *, as_json: bool) -> int:
    state = _read_state()
    if state and all(_is_running(state[f"{name}_pid"]) for name in _SERVERS):
        _show(state, as_json=as_json)
        return 0
    _stop_servers(state)
    directory = _state_directory()
    directory.mkdir()
    directory.chmod(0o755)
    if directory.stat().st_uid != os.getuid():
        raise StackError(f"{directory} belongs to another user")
    stack = Stack(directory, version, detached=True)
    stack.start(print if not as_json else lambda _: None)
    (directory / "state.json").write_text(stack.state())
    _show(_read_state(), as_json=as_json)
    return 0


def _down(*, as_json: bool) -> int:
    state = _read_state()
    _stop_servers(state)
    if as_json:
        print(json.dumps({"stopped": sorted(name for name in _SERVERS if state.get(f"{name}_pid"))}))
    else:
        print("the local servers are stopped" if state else "no local servers were running")
    return 0


def _stop_servers(state: dict[str, Any]) -> None:
    for name in _SERVERS:
        pid = state.get(f"{name}_pid", 0)
        if _is_running(pid):
            stop_session(pid, 10.0, lambda pid=pid: None if _is_running(pid) else 0)  # type: ignore[misc]
    shutil.rmtree(_state_directory(), ignore_errors=True)


def _is_running(pid: int) -> bool:
    """Return whether the process is still the server started here, not another one with a reused PID."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return bool(pid) and (b"kafka" in command or b"elasticsearch" in command)


def _show(state: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(state))
        return
    if not state:
        print("no local servers are running: crisp local up")
        return
    url = f"http://127.0.0.1:{state['es_port']}"
    up = "up" if elasticsearch.is_healthy(url) else "not answering"
    print(f"Elasticsearch {state['es_version']} ({up})\n  export CRISP_ES_URLS={url}")
    up = "up" if _is_running(state["kafka_pid"]) else "down"
    print(f"Kafka {artifacts.KAFKA_VERSION} ({up})\n  export CRISP_KAFKA_BROKERS=127.0.0.1:{state['kafka_port']}")
