"""`crisp status` renders a snapshot on a terminal of any width."""

import argparse
import dataclasses
import io
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from pipeline.cli.inspect import status
from pipeline.errors import CrispError, UsageError
from pipeline.monitoring import shipper_problems, worker_problems
from pipeline.monitoring.shipper_status import ShipperStatus
from pipeline.monitoring.worker_status import ContainerTraffic, NamespaceTraffic, Traffic, WorkerStatus
from pipeline.operations.inspect import overview
from pipeline.operations.inspect.fleet import Process
from pipeline.operations.inspect.overview import ElasticsearchOverview, KafkaOverview
from tests.support.statuses import NOW, SHIPPER, WORKER


def rendered(statuses: Sequence[ShipperStatus | WorkerStatus], width: int) -> str:
    processes = [
        Process(
            "10.0.0.1:9600",
            worker_problems.with_problems(item, NOW)
            if isinstance(item, WorkerStatus)
            else shipper_problems.with_problems(item, NOW),
        )
        for item in statuses
    ]
    snapshot = overview.assemble(processes, KafkaOverview("b:9092", 3, 1.0), ElasticsearchOverview("green"), [])
    output = io.StringIO()
    Console(file=output, width=width).print(status.render(snapshot))
    return output.getvalue()


def shippers(number: int, **changes: Any) -> list[ShipperStatus]:
    return [dataclasses.replace(SHIPPER, name=f"node-{index:03}", **changes) for index in range(number)]


def test_identical_problems_of_many_nodes_are_shown_once() -> None:
    text = rendered([*shippers(100, kafka_problem="no broker answers"), WORKER], 200)

    assert "shipper node-000 and 99 more: Lines do not reach Kafka." in text
    assert text.count("Lines do not reach Kafka") == 1
    assert text.count("crisp runbook shipper-backlog") == 1
    assert "and 80 more, none of them worse" in text


def test_worst_shipper_is_shown_first_and_never_omitted() -> None:
    processes = shippers(30)
    processes[29] = dataclasses.replace(processes[29], kafka_problem="no broker answers")
    text = rendered(processes, 120)
    rows = [line for line in text.splitlines() if line.startswith("node-")]

    assert rows[0].startswith("node-029")
    assert len(rows) == 20


def test_names_are_complete_on_a_narrow_terminal() -> None:
    name = "crisp-worker-7c9d8f6b5-x2x9k"
    text = rendered([dataclasses.replace(WORKER, name=name)], 80)
    column = "".join(line.split()[0] for line in text.splitlines()[-2:])

    assert "…" not in text
    assert column == name
    assert max(map(len, text.splitlines())) <= 80


def test_fleet_is_summarised_with_talkers_and_the_slowest_node() -> None:
    row = ContainerTraffic("shop", "app", 600, 6000)
    worker = dataclasses.replace(
        WORKER, traffic=Traffic(60.0, 600, 6000, (NamespaceTraffic("shop", 600, 6000),), (row,))
    )
    slow = dataclasses.replace(SHIPPER, node="node-7", backlog_bytes=2048, backlog_age_seconds=9.0)
    text = " ".join(rendered([slow, worker], 160).split())

    assert "slowest node node-7 2.0 KiB unread, the oldest line waits for 9.0 s" in text
    assert "top talkers by namespace shop 100 % of the bytes, 100 B/s, 10 lines/s" in text
    assert "top talkers by container shop/app 100 % of the bytes" in text


@pytest.mark.parametrize("address", ["9104", ":9104", "localhost:", "localhost:0", "localhost:70000", "a:b"])
def test_invalid_address_to_serve_at_is_named(address: str) -> None:
    with pytest.raises(UsageError, match="is not HOST:PORT, such as"):
        status.run(arguments("--serve", address))


def test_serve_excludes_options_of_a_single_reading() -> None:
    with pytest.raises(UsageError, match="--serve takes neither"):
        status.run(arguments("--serve", "--once"))


def test_occupied_port_to_serve_at_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CrispError, match=f"cannot serve at port {port} of 127.0.0.1"):
            status.run(arguments("--serve", f"127.0.0.1:{port}"))


def arguments(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    status.add_arguments(parser)
    return parser.parse_args(options)
