"""Index and id prefix of an event, by route, file and day."""

from pipeline.config.settings import Settings
from pipeline.contract.record import SourceFile
from pipeline.documents.target import Targets

NOW = 1_795_513_350 * 10**9  # 2026-11-24T09:42:30Z
FILES = (SourceFile("AAAAAAAAAAAAAAAA", "/a"), SourceFile("BBBBBBBBBBBBBBBB", "/b"))
TARGETS = Targets(FILES, NOW, Settings(retention_days=14, routes={"infra": 3}))


def test_target_has_the_index_of_day_and_route() -> None:
    assert TARGETS.get("", 0, b"2026-11-24") == ("logs-2026.11.24", b"AAAAAAAAAAAAAAAA-", "2026-11-24", False)
    assert TARGETS.get("infra", 1, b"2026-11-24") == (
        "logs-infra.2026.11.24",
        b"BBBBBBBBBBBBBBBB-",
        "2026-11-24",
        False,
    )


def test_day_before_the_retention_of_the_route_is_late() -> None:
    assert [TARGETS.get("", 0, day)[0] for day in (b"2026-11-10", b"2026-11-09")] == ["logs-2026.11.10", "logs-late"]
    assert [TARGETS.get("infra", 0, day)[3] for day in (b"2026-11-21", b"2026-11-20")] == [False, True]
