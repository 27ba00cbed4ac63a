"""Index and id prefix of an event, by route, file and day."""

import pytest

from pipeline.config.settings import Settings
from pipeline.contract.record import SourceFile
from pipeline.documents.target import Targets

NOW = 1_795_513_350 * 10**9  # 2026-11-24T09:42:30Z
FILES = (SourceFile("AAAAAAAAAAAAAAAA", "/a"), SourceFile("BBBBBBBBBBBBBBBB", "/b"))
TARGETS = Targets(FILES, NOW, Settings(retention_days=14, routes={"infra": 3}))


def test_target_has_the_index_of_day_and_route() -> None:
    assert TARGETS.get("", 0, b"2026-11-24") == ("logs-2026.11.24", b"AAAAAAAAAAAAAAAA-", "2026-11-24", "")
    assert TARGETS.get("infra", 1, b"2026-11-24") == (
        "logs-infra.2026.11.24",
        b"BBBBBBBBBBBBBBBB-",
        "2026-11-24",
        "",
    )


def test_day_before_the_retention_of_the_route_is_late() -> None:
    assert [TARGETS.get("", 0, day)[0] for day in (b"2026-11-10", b"2026-11-09")] == ["logs-2026.11.10", "logs-late"]
    assert [TARGETS.get("infra", 0, day)[3] for day in (b"2026-11-21", b"2026-11-20")] == ["", "late"]


def test_day_after_tomorrow_is_in_the_future() -> None:
    targets = [TARGETS.get("infra", 0, day) for day in (b"2026-11-25", b"2026-11-26", b"9999-12-31")]

    assert [(index, flag) for index, _, _, flag in targets] == [
        ("logs-infra.2026.11.25", ""),
        ("logs-late", "future"),
        ("logs-late", "future"),
    ]


@pytest.mark.parametrize("written_ns", [1, 10**9, 2**63 - 1, 10**24])
def test_any_time_of_a_record_gives_a_target(written_ns: int) -> None:
    index, *_, flag = Targets(FILES, written_ns, Settings(retention_days=10**6)).get("", 0, b"2026-11-24")

    assert (flag == "") == (index == "logs-2026.11.24")
