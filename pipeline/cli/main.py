"""The command `crisp`: finds the command's module, hands it the arguments, and tells faults in one line."""

import argparse
import gc
import importlib
import os
import sys

from pipeline import __version__
from pipeline.errors import CrispError, RulesError, SettingsError, UsageError

# name -> (module with `arguments(parser)`, `run(args) -> exit code` and, for the end of its help, `EXAMPLE`; what it
# does). A module is loaded only when its command is called: the shipper must never load faust or elasticsearch.
COMMANDS = {
    "demo": ("pipeline.cli.demo", "the whole pipeline on this machine, and a report"),
    "local": ("pipeline.cli.local", "a local Kafka and Elasticsearch: up, down, status"),
    "ship": ("agents.cli", "the node shipper: container log files to Kafka"),
    "worker": ("pipeline.cli.worker", "a worker: Kafka to Elasticsearch"),
    "setup": ("pipeline.cli.setup", "make topics and index template (idempotent)"),
    "parse": ("pipeline.cli.parse", "show what becomes of raw CRI lines"),
    "replay": ("pipeline.cli.replay", "index a time range of the raw topic again, what is there not twice"),
    "dead-letters": ("pipeline.cli.dead_letters", "dead letters: list them by reason, send them again"),
    "status": ("pipeline.cli.status", "where the flow stands: all shippers and workers, Kafka, Elasticsearch"),
    "tail": ("pipeline.cli.tail", "follow documents as they become searchable"),
    "trace": ("pipeline.cli.trace", "one document's way: file, slice, record, index, with the times"),
    "runbook": ("pipeline.cli.runbook", "what to do: the page that status, pages and alerts name"),
    "audit": ("pipeline.cli.audit", "is every event there? From log files, or from what Kafka holds"),
    "check": (
        "pipeline.cli.check",
        "are settings and rules right? Runs the tests of the rules; for CI, and before a rollout",
    ),
    "config": ("pipeline.cli.config", "show the effective settings and where each came from"),
}

ALIASES = {"dead": "dead-letters"}

GC_THRESHOLD = 50_000  # objects made and not yet gone


def _command_list() -> str:
    rows = [f"  {name:12} {summary}" for name, (_, summary) in COMMANDS.items()]
    return "commands:\n" + "\n".join(rows) + "\n\n`crisp COMMAND --help` says more."


def main(argv: list[str] | None = None) -> int:
    """Run one command; exit code 2 for wrong usage or refused settings, 1 for a fault of the world."""
    argv = sys.argv[1:] if argv is None else argv
    # Lines make short-lived objects without cycles, which need no collector: it looks seldom, at modules never.
    gc.set_threshold(GC_THRESHOLD, 20, 100)
    parser = argparse.ArgumentParser(
        prog="crisp",
        description="Kubernetes container logs, through Kafka, into Elasticsearch.",
        epilog=_command_list(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"crisp {__version__}")
    parser.add_argument("command", choices=[*COMMANDS, *ALIASES], metavar="COMMAND")
    name = parser.parse_args(argv[:1]).command
    name = ALIASES.get(name, name)
    module_name, summary = COMMANDS[name]
    module = importlib.import_module(module_name)
    gc.freeze()
    command_parser = argparse.ArgumentParser(
        prog=f"crisp {name}",
        description=summary,
        epilog=getattr(module, "EXAMPLE", None),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(command_parser)
    try:
        return int(module.run(command_parser.parse_args(argv[1:])))
    except SettingsError as error:
        # A fault of the rules begins with its place, so that editors and CI find it.
        before = "" if isinstance(error, RulesError) else "crisp: "
        for fault in error.problems:
            print(f"{before}{fault}", file=sys.stderr)
        return 2
    except UsageError as error:
        print(f"crisp {name}: {error} (crisp {name} --help)", file=sys.stderr)
        return 2
    except CrispError as error:
        print(f"crisp: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output (`head`) has enough. Python would complain at exit, when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
