"""`crisp setup`: create topics, lifecycle policies and index templates (idempotent)."""

import argparse
import asyncio
import json

from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.elasticsearch import roles
from pipeline.operations.setup import kibana_objects, setup


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--quiet", action="store_true", help="print errors only")
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
    if args.kibana_objects:
        print(kibana_objects.ndjson(effective).decode(), end="")
        return 0
    if args.roles:
        print(json.dumps(roles.all_roles(effective), indent=2))
        return 0
    messages = asyncio.run(_set_up(effective, kibana_only=args.kibana_only))
    if not args.quiet:
        print("\n".join(messages))
    return 0


async def _set_up(effective: Settings, *, kibana_only: bool) -> list[str]:
    return [await setup.import_kibana_objects(effective)] if kibana_only else await setup.create_all(effective)
