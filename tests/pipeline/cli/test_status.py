"""What `crisp status` shows of the facts, on a terminal of any width."""

import io
from typing import Any

from rich.console import Console

from pipeline.cli import status
from pipeline.monitoring import process_info
from tests.pipeline.monitoring.test_health import NOW, SHIPPER, WORKER, with_value


def rendered(parts: list[dict[str, Any]], width: int) -> str:
    judged = [process_info.with_health(part) for part in parts]
    troubles = [{**one, "of": f"{part['kind']} {part['name']}"} for part in judged for one in part["troubles"]]
    found = {
        "state": "critical" if troubles else "ok",
        "time": NOW,
        "troubles": troubles,
        "kafka": {"lag": 3, "oldest_seconds": 1.0},
        "elasticsearch": {"status": "green"},
        "parts": judged,
    }
    output = io.StringIO()
    Console(file=output, width=width).print(status.render(found))
    return output.getvalue()


def shippers(number: int, path: str = "name", value: Any = "") -> list[dict[str, Any]]:
    return [with_value({**SHIPPER, "name": f"node-{one:03}"}, path, value or f"node-{one:03}") for one in range(number)]


def test_identical_problems_of_many_nodes_are_shown_once() -> None:
    said = rendered([*shippers(100, "kafka", "no broker answers"), WORKER], 200)

    assert "shipper node-000 and 99 more: Lines do not reach Kafka." in said
    assert said.count("Lines do not reach Kafka") == 1
    assert said.count("crisp runbook shipper-backlog") == 1
    assert "and 80 more, none of them worse" in said


def test_worst_shipper_is_shown_first_and_never_omitted() -> None:
    parts = shippers(30)
    parts[29] = {**parts[29], "kafka": "no broker answers"}
    said = rendered(parts, 120)
    rows = [line for line in said.splitlines() if line.startswith("node-")]

    assert rows[0].startswith("node-029")
    assert len(rows) == 20


def test_names_are_complete_on_a_narrow_terminal() -> None:
    name = "crisp-worker-7c9d8f6b5-x2x9k"
    said = rendered([{**WORKER, "name": name}], 80)
    column = "".join(line.split()[0] for line in said.splitlines()[-2:])

    assert "…" not in said
    assert column == name
    assert max(map(len, said.splitlines())) <= 80
