"""`crisp local up|down|status`: start and stop a local Kafka and Elasticsearch."""

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import StackError
from pipeline.local import artifacts, elasticsearch
from pipeline.local.process import stop_session
from pipeline.local.stack import DEFAULT_VERSION, Address, Stack

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
    if args.action != "status":
        with _lock():
            return _up(args.es_version, as_json=args.json) if args.action == "up" else _down(as_json=args.json)
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
    on_progress: Callable[[str], None] = print if not as_json else lambda _: None
    state = _read_state()
    if state and state["es_version"] != version:
        raise StackError(f"Elasticsearch {state['es_version']} is up, not {version}: crisp local down, then up again")
    if state:
        _restart_missing(state, on_progress)
    else:
        _start(version, on_progress)
    _show(_read_state(), as_json=as_json)
    return 0


def _start(version: str, on_progress: Callable[[str], None]) -> None:
    """Start both servers with new data."""
    directory = _state_directory()
    shutil.rmtree(directory, ignore_errors=True)  # of a start that failed: it has no state
    directory.mkdir()
    directory.chmod(0o755)
    stack = Stack(directory, version, detached=True)
    stack.start(on_progress)
    (directory / "state.json").write_text(stack.state())


def _restart_missing(state: dict[str, Any], on_progress: Callable[[str], None]) -> None:
    """Start the servers that died again, with their data and addresses; leave the other one alone."""
    address = Address(**{field.name: state[field.name] for field in dataclasses.fields(Address)})
    stack = Stack.restore(_state_directory(), address)
    starts = {"kafka": stack.start_kafka, "elasticsearch": stack.start_elasticsearch}
    missing = [name for name in _SERVERS if not _is_running(state[f"{name}_pid"])]
    for name in missing:
        on_progress(f"{name} had stopped: starting it again with its data")
        state[f"{name}_pid"] = starts[name]().pid
        (_state_directory() / "state.json").write_text(json.dumps(state))
    waits = {"kafka": stack.wait_kafka, "elasticsearch": stack.wait_elasticsearch}
    for name in missing:
        waits[name]()


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Hold the lock of `up` and `down`. Raises StackError if another one of this user runs."""
    path = _state_directory().with_suffix(".lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_uid != os.getuid():
            raise StackError(f"{path} belongs to another user")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError("another `crisp local up` or `down` of this user is running") from None
        yield
    finally:
        os.close(descriptor)


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
