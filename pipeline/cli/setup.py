"""`crisp setup`: create topics, lifecycle policies and index templates (idempotent)."""

import argparse
import asyncio
import json
import sys

from pipeline.cli.terminal import time_argument
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.elasticsearch import roles
from pipeline.monitoring import log
from pipeline.operations.setup import kibana_objects, setup


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--quiet", action="store_true", help="print errors only")
    parser.add_argument(
        "--wait",
        metavar="DURATION",
        help="retry so long while Kafka or Elasticsearch cannot be used: 90s, 15m, 1h (default: do not wait)",
    )
    parser.add_argument(
        "--kibana-only", action="store_true", help="only import data view, searches and dashboard into Kibana"
    )
    parser.add_argument(
        "--kibana-objects", action="store_true", help="only print the saved objects of Kibana, for a manual import"
    )
    parser.add_argument(
        "--roles", action="store_true", help="only print the Elasticsearch roles for worker, setup and audit, as JSON"
    )


def run(args: argparse.Namespace) -> int:
    """Return 0 when everything exists. Raises SetupError."""
    effective = load_settings()
    log.configure_cli()
    if args.kibana_objects:
        print(kibana_objects.ndjson(effective).decode(), end="")
        return 0
    if args.roles:
        print(json.dumps(roles.all_roles(effective), indent=2))
        return 0
    wait_seconds = time_argument.parse_duration("--wait", args.wait) if args.wait else 0.0
    messages = asyncio.run(_set_up(effective, wait_seconds, kibana_only=args.kibana_only))
    if not args.quiet:
        print("\n".join(messages))
    return 0


async def _set_up(effective: Settings, wait_seconds: float, *, kibana_only: bool) -> list[str]:
    if kibana_only:
        return [await setup.import_kibana_objects(effective)]
    return await setup.create_all_when_available(effective, wait_seconds, _report_wait)


def _report_wait(problem: str, remaining_seconds: float) -> None:
    """Print why setup waits; also with --quiet: it is a problem."""
    print(f"waiting, at most {remaining_seconds:.0f} s: {problem}", file=sys.stderr, flush=True)
