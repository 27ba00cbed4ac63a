"""The table of results of the fault suite, kept over runs: one row per fault, from its newest run."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent.parent.parent / "build" / "fault-results.json"
HEAD = """| fault | lines | lost | duplicated | out of order | drained | fresh | kills (shipper, worker) | |
|---|--:|--:|--:|--:|--:|--:|--:|---|
"""


@dataclass
class Row:
    """The result of one fault; durations in seconds, counts in lines."""

    fault: str
    elasticsearch: str
    lines: int = 0
    missing: int = -1
    doubled: int = -1
    disordered: int = -1
    drained: float = 0.0
    fresh: float = 0.0
    kills: tuple[int, int] = (0, 0)
    note: str = ""
    passed: bool = False


def save(row: Row) -> None:
    """Add or replace a row in the file, and write the table next to it."""
    PATH.parent.mkdir(exist_ok=True)
    rows = json.loads(PATH.read_text()) if PATH.exists() else {}
    rows[f"{row.fault} {row.elasticsearch}"] = asdict(row)
    PATH.write_text(json.dumps(dict(sorted(rows.items())), indent=1))
    PATH.with_suffix(".md").write_text(table(list(rows.values())))


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        f"| {row['fault']} | {row['lines']:,} | {row['missing']} | {row['doubled']} | {row['disordered']} | "
        f"{row['drained']:.1f} s | {row['fresh']:.1f} s | {row['kills'][0]}, {row['kills'][1]} | "
        f"{row['note']}{'' if row['passed'] else ' FAILED'} |"
        for row in rows
    ]
    return HEAD + "\n".join(lines) + "\n"
