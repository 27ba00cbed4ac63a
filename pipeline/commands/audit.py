"""`crisp audit`: is every event there? From log files, or from what Kafka still holds."""

import argparse
import asyncio
from datetime import UTC, datetime
from pathlib import Path

import orjson
from aiokafka.errors import KafkaError
from elastic_transport import TransportError
from elasticsearch import ApiError
from rich.console import Console
from rich.table import Table

from pipeline import audit, ownlog, settings
from pipeline.audit import Account, Audit
from pipeline.elastic.client import connect
from pipeline.errors import CrispError
from pipeline.settings import Settings

KAFKA = "kafka"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--from", dest="source", required=True, metavar="kafka|DIR", help="the raw topic, or log files")
    parser.add_argument("--since", help="only records from then on (2026-11-24T10:00:00Z); for kafka")
    parser.add_argument("--json", action="store_true", help="print the accounts as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 if nothing is missing, else 1."""
    effective = settings.load()
    ownlog.configure()
    since = _milliseconds(args.since) if args.since else None
    if args.source != KAFKA and not Path(args.source).is_dir():
        raise CrispError(f"--from {args.source}: neither a directory nor the word {KAFKA}")
    try:
        accounts = asyncio.run(_audit(effective, args.source, since))
    except (KafkaError, ApiError, TransportError) as fault:
        raise CrispError(f"the audit cannot be made: {fault}") from fault
    missing = sum(account.missing for account in accounts)
    if args.json:
        print(orjson.dumps({"missing": missing, "accounts": [account.row() for account in accounts]}).decode())
    else:
        _show(accounts)
    return 1 if missing else 0


def _milliseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as fault:
        raise CrispError(f"--since {text}: not a time such as 2026-11-24T10:00:00Z") from fault
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


async def _audit(effective: Settings, source: str, since: int | None) -> list[Account]:
    client = connect(effective)
    try:
        made = Audit(effective, client, await audit.dead_documents(effective) if source == KAFKA else set())
        if source == KAFKA:
            async for name, parcel, unjudged in audit.of_topic(effective, since):
                made.account(name).unjudged += unjudged
                if parcel is not None:
                    await made.take(name, parcel)
        else:
            for name, parcel, unjudged in audit.of_directory(Path(source), effective):
                made.account(name).unjudged += unjudged
                if parcel is not None:
                    await made.take(name, parcel)
        await made.settle()
    finally:
        await client.close()
    return list(made.accounts.values())


def _show(accounts: list[Account]) -> None:
    table = Table("source", "events", "found", "dropped by a rule", "dead letters", "not judged", "missing")
    for account in accounts:
        rules = ", ".join(f"{number} {rule}" for rule, number in account.dropped.items())
        unjudged = f"{account.unjudged} bytes" if account.unjudged else ""
        figures = (str(account.events), str(account.found), rules, str(account.dead or ""), unjudged)
        table.add_row(account.name, *figures, f"[red]{account.missing}[/red]" if account.missing else "0")
    console = Console()
    console.print(table)
    for account in accounts:
        for identity in account.sample:
            console.print(f"missing: {identity} of {account.name}", highlight=False)
