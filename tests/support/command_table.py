"""Every command of `crisp --help` as users call it: with good input, with wrong input, without servers.

In arguments and outputs `{name}` is replaced by what the test has under this name.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.cli.completion.arguments import all_commands

RESULTS = Path(__file__).parent.parent.parent / "build" / "commands.json"
HEAD = """| command | input | exit code | last line |
|---|---|--:|---|
"""
GOOD, WRONG, AWAY = "good input", "wrong input", "no server"


class Call(NamedTuple):
    """A call of a command, its exit code, and what its output contains, of an error the last line.

    `endless`: it waits for servers until it is interrupted. `fits`: its output is at most as wide as a terminal;
    that of others is for a program, a log, or lines whose words are to be copied whole.
    """

    state: str
    arguments: str
    code: int
    output: str
    endless: bool = False
    fits: bool = True

    def expand(self, command: str, values: Mapping[str, str]) -> list[str]:
        """Return all arguments of `crisp`."""
        return [*command.split(), *(argument.format_map(values) for argument in shlex.split(self.arguments))]


NO_KAFKA = "no connection to 127.0.0.1:"
NO_ELASTICSEARCH = "no connection to 127.0.0.1:"
NOT_A_TIME = "neither a time (2026-11-24T10:00:00Z, default zone UTC), nor an age (90s, 15m, 24h, 7d)"
REVERSED_RANGE = "--until is not later than --since"
LOCAL = ("demo", "local up", "local down", "local status")
COMPLETIONS = ("completion bash", "completion zsh", "completion fish")
SERVERLESS = frozenset((*LOCAL, "parse", "runbook", "size", "config", *COMPLETIONS))
"""Commands that use no server, or start their own."""

CALLS: dict[str, tuple[Call, ...]] = {
    "demo": (
        Call(GOOD, "--lines 50 --rate 0", 0, "every line is indexed exactly once", fits=False),
        Call(WRONG, "--lines 0", 2, "--lines must be 1 or more"),
        Call(WRONG, "--lines many", 2, "invalid int value: 'many'"),
        Call(WRONG, "--rate -1", 2, "--rate must be a number from 0"),
        Call(WRONG, "--rate nan", 2, "--rate must be a number from 0"),
        Call(WRONG, "--logs {missing}", 1, "{missing}"),
        Call(WRONG, "--logs {logs} --lines 5", 2, "it excludes --lines"),
    ),
    "local status": (
        Call(GOOD, "", 1, "crisp local up"),
        Call(WRONG, "--es-version 7", 2, "invalid choice: '7'"),
    ),
    "local up": (
        Call(GOOD, "", 0, "export CRISP_KAFKA_BROKERS=127.0.0.1:"),
        Call(WRONG, "now", 2, "unrecognized arguments: now"),
    ),
    "local down": (
        Call(GOOD, "", 0, "the local servers are stopped"),
        Call(WRONG, "now", 2, "unrecognized arguments: now"),
    ),
    "ship": (
        Call(GOOD, "--once", 0, "shipper stopped", fits=False),
        Call(WRONG, "{logs}", 2, "unrecognized arguments: {logs}"),
        Call(AWAY, "", 0, "cannot use Kafka: 127.0.0.1:", endless=True),
    ),
    "worker": (
        Call(GOOD, "--once", 0, "worker stopped", fits=False),
        Call(WRONG, "--twice", 2, "unrecognized arguments: --twice"),
        Call(AWAY, "", 0, "cannot use Kafka, retrying until it succeeds: 127.0.0.1:", endless=True),
    ),
    "setup": (
        Call(GOOD, "", 0, "already exists"),
        Call(GOOD, "--roles", 0, "crisp_worker", fits=False),
        Call(GOOD, "--kibana-objects", 0, "index-pattern", fits=False),
        Call(WRONG, "--wait soon", 2, "--wait soon: not a duration (90s, 15m, 24h, 7d)"),
        Call(WRONG, "--kibana-only", 1, "CRISP_KIBANA_URL"),
        Call(AWAY, "", 1, NO_KAFKA),
    ),
    "parse": (
        Call(GOOD, "{lines}", 0, '"message"', fits=False),
        Call(GOOD, "--explain {lines}", 0, "log.offset"),
        Call(WRONG, "{missing}", 1, "{missing}"),
        Call(WRONG, "{logs}", 1, "{logs}"),
        Call(WRONG, "--pod {lines} {lines}", 1, "{lines}: not JSON"),
        Call(WRONG, "--rules {missing} {lines}", 2, "{missing}"),
        Call(WRONG, "--rules {bad_rules} {lines}", 2, "{bad_rules}:"),
        Call(WRONG, "--path nowhere {lines}", 1, "--path nowhere"),
    ),
    "replay": (
        Call(GOOD, "--since 1h", 0, "existing documents"),
        Call(WRONG, "", 2, "required: --since"),
        Call(WRONG, "--since yesterday", 2, NOT_A_TIME),
        Call(WRONG, "--since 1h --until 2h", 2, REVERSED_RANGE),
        Call(AWAY, "--since 1h", 1, NO_KAFKA),
    ),
    "dead-letters list": (
        Call(GOOD, "", 0, "1 dead letter"),
        Call(WRONG, "--since yesterday", 2, NOT_A_TIME),
        Call(AWAY, "", 1, NO_KAFKA),
    ),
    "dead-letters retry": (
        Call(GOOD, "", 1, "1 rejected again"),
        Call(WRONG, "--since yesterday", 2, NOT_A_TIME),
        Call(AWAY, "", 1, NO_KAFKA),
    ),
    "status": (
        Call(GOOD, "--once", 0, "node-1"),
        Call(WRONG, "--namespace logging", 2, "--namespace needs --kube"),
        Call(WRONG, "--kube --context staging", 1, "{missing}"),
        Call(AWAY, "--once", 1, "no broker is reachable"),
    ),
    "fields": (
        Call(GOOD, "--all", 0, "with a problem"),
        Call(WRONG, "--since yesterday", 2, NOT_A_TIME),
        Call(WRONG, "--since 1h --until 2h", 2, REVERSED_RANGE),
        Call(AWAY, "", 1, NO_KAFKA),
    ),
    "tail": (
        Call(GOOD, "--no-follow", 0, "payment refused", fits=False),
        Call(WRONG, "-n 20000", 2, "-n 20000: from 0 to 10,000"),
        Call(WRONG, "-n few", 2, "invalid int value: 'few'"),
        Call(AWAY, "", 1, NO_ELASTICSEARCH),
    ),
    "trace": (
        Call(GOOD, "{id}", 0, "searchable"),
        Call(WRONG, "", 2, "required: ID"),
        Call(WRONG, "{id} --since yesterday", 2, NOT_A_TIME),
        Call(WRONG, "no-such-id", 1, "No document no-such-id"),
        Call(AWAY, "{id}", 1, NO_ELASTICSEARCH),
    ),
    "runbook": (
        Call(GOOD, "", 0, "lag"),
        Call(GOOD, "lag", 0, "crisp check --connect"),
        Call(WRONG, "lags", 2, "lags"),
    ),
    "audit": (
        Call(GOOD, "--from kafka --min-age 0", 0, "no event is missing, but some could not be verified"),
        Call(GOOD, "--from {logs} --min-age 0", 0, "every event is accounted for"),
        Call(WRONG, "", 2, "required: --from"),
        Call(WRONG, "--from {missing}", 2, "{missing}"),
        Call(WRONG, "--from kafka --since yesterday", 2, NOT_A_TIME),
        Call(WRONG, "--from kafka --pods {lines}", 2, "--pods"),
        Call(WRONG, "--from {logs} --pods {missing}", 2, "{missing}: No such file"),
        Call(WRONG, "--from {logs} --pods {lines}", 2, "{lines}: not JSON"),
        Call(WRONG, "--from kafka --rules {missing}", 2, "{missing}"),
        Call(WRONG, "--from kafka --rules {rules} --rules {bad_rules}", 2, "{bad_rules}:"),
        Call(WRONG, "--from kafka --min-age soon", 2, "invalid float value: 'soon'"),
        Call(WRONG, "--from kafka --min-age nan", 2, "--min-age nan"),
        Call(AWAY, "--from kafka", 1, NO_KAFKA),
        Call(AWAY, "--from {logs}", 1, NO_ELASTICSEARCH),
    ),
    "size": (
        Call(GOOD, "--nodes 16 --lines-per-second 12", 0, "limits: none is near"),
        Call(WRONG, "--nodes 16", 2, "required: --lines-per-second"),
        Call(WRONG, "--nodes 0 --lines-per-second 12", 2, "--nodes 0: not a positive number"),
        Call(WRONG, "--nodes 3 --lines-per-second nan", 2, "--lines-per-second nan: not a positive number"),
    ),
    "rules diff": (
        Call(GOOD, "--rules {new_rules}", 0, "differ"),
        Call(WRONG, "", 2, "required: --rules"),
        Call(WRONG, "--rules {missing}", 2, "{missing}"),
        Call(WRONG, "--rules {bad_rules}", 2, "{bad_rules}:"),
        Call(WRONG, "--rules {new_rules} --since yesterday", 2, NOT_A_TIME),
        Call(AWAY, "--rules {new_rules}", 1, NO_KAFKA),
    ),
    "check": (
        Call(GOOD, "--connect --rules {rules}", 0, "OK", fits=False),
        Call(WRONG, "--rules {missing}", 2, "{missing}"),
        Call(WRONG, "--rules {bad_rules}", 2, "{bad_rules}:"),
        Call(WRONG, "--namespace logging", 2, "--namespace needs --kube"),
        Call(WRONG, "--kube", 1, "{missing}"),
        Call(AWAY, "--connect", 1, "Elasticsearch"),
    ),
    "config": (
        Call(GOOD, "", 0, "CRISP_TOPIC_RAW"),
        Call(GOOD, "--changed", 0, "CRISP_TOPIC_RAW"),
        Call(GOOD, "--example", 0, "#CRISP_TOPIC_RAW=logs-raw", fits=False),
        Call(WRONG, "--json --example", 2, "not allowed with argument --json"),
        Call(WRONG, "--example --changed", 2, "--example has no --changed"),
    ),
    "completion bash": (
        Call(GOOD, "", 0, "complete", fits=False),
        Call(WRONG, "now", 2, "unrecognized arguments: now"),
    ),
    "completion zsh": (
        Call(GOOD, "", 0, "compdef", fits=False),
        Call(WRONG, "now", 2, "unrecognized arguments: now"),
    ),
    "completion fish": (
        Call(GOOD, "", 0, "complete", fits=False),
        Call(WRONG, "now", 2, "unrecognized arguments: now"),
    ),
}


def command_names() -> list[str]:
    """Return every command; one whose first argument is an action, once for each action."""
    names: list[str] = []
    for command in all_commands():
        actions = [choice for argument in command.positionals[:1] for choice in argument.choices]
        names += [f"{command.names[0]} {action}" for action in actions] or [command.names[0]]
    return names


def wrong_calls() -> list[tuple[str, Call]]:
    """Return all calls with wrong input."""
    return [(command, call) for command, calls in CALLS.items() for call in calls if call.state == WRONG]


def write_files(directory: Path) -> dict[str, str]:
    """Write the files that arguments name; return their paths by name."""
    values = {"missing": str(directory / "missing"), "id": "A" * 16 + "-0000000000"}
    (directory / "logs").mkdir()
    values["logs"] = str(directory / "logs")
    for name, text in (
        ("lines", "2026-11-24T10:00:00.000000001Z stderr F payment refused\n"),
        ("rules", "rules: []\n"),
        ("new_rules", "rules:\n  - {name: quiet, when: {message.contains: refused}, drop: true}\n"),
        ("bad_rules", "rules:\n  - {name: quiet, dropp: true}\n"),
    ):
        path = directory / name
        path.write_text(text)
        values[name] = str(path)
    return values


def save(command: str, rows: Mapping[str, tuple[int, str]]) -> None:
    """Put results of a command, exit code and last line by input, into the table `build/commands.md`."""
    RESULTS.parent.mkdir(exist_ok=True)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[command] = {**results.get(command, {}), **rows}
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=1))
    lines = [
        f"| `crisp {name}` | {given} | {code} | {last.replace('|', chr(92) + '|')} |"
        for name, rows in sorted(results.items())
        for given, (code, last) in rows.items()
    ]
    RESULTS.with_suffix(".md").write_text(HEAD + "\n".join(lines) + "\n")
