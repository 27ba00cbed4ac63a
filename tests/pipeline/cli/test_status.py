"""`crisp status` renders a snapshot on a terminal of any width."""

import io
from typing import Any

from rich.console import Console

from pipeline.cli import status
from pipeline.monitoring import process_info
from tests.pipeline.monitoring.test_health import NOW, SHIPPER, WORKER, with_value


def rendered(parts: list[dict[str, Any]], width: int) -> str:
    processes = [process_info.with_health(part) for part in parts]
    problems = [
        {**problem, "of": f"{process['kind']} {process['name']}"}
        for process in processes
        for problem in process["troubles"]
    ]
    snapshot = {
        "state": "critical" if problems else "ok",
        "time": NOW,
        "troubles": problems,
        "kafka": {"lag": 3, "oldest_seconds": 1.0},
        "elasticsearch": {"status": "green"},
        "parts": processes,
    }
    output = io.StringIO()
    Console(file=output, width=width).print(status.render(snapshot))
    return output.getvalue()


def shippers(number: int, path: str = "name", value: Any = "") -> list[dict[str, Any]]:
    return [
        with_value({**SHIPPER, "name": f"node-{index:03}"}, path, value or f"node-{index:03}")
        for index in range(number)
    ]


def test_identical_problems_of_many_nodes_are_shown_once() -> None:
    text = rendered([*shippers(100, "kafka", "no broker answers"), WORKER], 200)

    assert "shipper node-000 and 99 more: Lines do not reach Kafka." in text
    assert text.count("Lines do not reach Kafka") == 1
    assert text.count("crisp runbook shipper-backlog") == 1
    assert "and 80 more, none of them worse" in text


def test_worst_shipper_is_shown_first_and_never_omitted() -> None:
    processes = shippers(30)
    processes[29] = {**processes[29], "kafka": "no broker answers"}
    text = rendered(processes, 120)
    rows = [line for line in text.splitlines() if line.startswith("node-")]

    assert rows[0].startswith("node-029")
    assert len(rows) == 20


def test_names_are_complete_on_a_narrow_terminal() -> None:
    name = "crisp-worker-7c9d8f6b5-x2x9k"
    text = rendered([{**WORKER, "name": name}], 80)
    column = "".join(line.split()[0] for line in text.splitlines()[-2:])

    assert "…" not in text
    assert column == name
    assert max(map(len, text.splitlines())) <= 80
