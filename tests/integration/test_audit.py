"""The audit finds what is there, and names what is not."""

import json
import os
import subprocess
import sys
import time

from pipeline.demo.feed import Feed
from pipeline.demo.ledger import Ledger
from pipeline.message import apptime
from tests.integration.flow import Flow


def audit(flow: Flow, source: str, *more: str) -> tuple[int, dict[str, object]]:
    """Exit code and accounts of `crisp audit --json`."""
    command = [sys.executable, "-m", "pipeline.cli", "audit", "--from", source, "--json", *more]
    ended = subprocess.run(
        command, env={**os.environ, **flow.environment}, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode in {0, 1}, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def test_files_and_kafka_are_proved_until_a_document_is_gone(flow: Flow) -> None:
    feed = Feed(flow.logs, Ledger(), seed=5)
    for _ in range(4):
        feed.write(800)
        feed.copy()
        time.sleep(0.3)
    probe = '10.0.0.1 - - [24/Nov/2026:00:00:00 +0000] "GET /healthz HTTP/1.1" 200 2'
    line = f"{apptime.text(time.time_ns())} stdout F {probe}\n"
    (flow.container("probed") / "0.log").write_text(line)
    flow.once(flow.shipper)
    flow.once(flow.worker)
    documents = flow.documents()

    for source in ("kafka", str(flow.logs)):
        code, said = audit(flow, source)
        accounts = said["accounts"]
        assert isinstance(accounts, list)
        assert (code, said["missing"]) == (0, 0)
        assert sum(account["found"] for account in accounts) == len(documents)
        assert sum(account["dropped"].get("health probe", 0) for account in accounts) == 1

    gone = documents[7]
    flow.ask(f"{gone['_index']}/_doc/{gone['_id']}?refresh=true", method="DELETE")
    for source in ("kafka", str(flow.logs)):
        code, said = audit(flow, source)
        accounts = said["accounts"]
        assert isinstance(accounts, list)
        assert (code, said["missing"]) == (1, 1)
        assert [identity for account in accounts for identity in account["sample"]] == [gone["_id"]]
    feed.close()
