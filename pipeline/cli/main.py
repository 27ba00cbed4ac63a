"""The command `crisp`: load a command's module, run it with its arguments, report errors in one line each."""

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Callable

from pipeline import __version__
from pipeline.errors import CrispError, RulesError, SettingsError, UsageError

# name -> (module with `add_arguments(parser)`, `run(args) -> exit code` and optionally `EXAMPLE`, the end of its help;
# summary). A module is loaded only when its command is called: the shipper must never load faust or elasticsearch.
COMMANDS = {
    "demo": ("pipeline.cli.demo", "run the whole pipeline on this machine, and print a report"),
    "local": ("pipeline.cli.local", "start and stop a local Kafka and Elasticsearch"),
    "ship": ("agents.cli", "run the shipper of one node: container log files to Kafka"),
    "worker": ("pipeline.cli.worker", "run a worker: Kafka to Elasticsearch"),
    "setup": ("pipeline.cli.setup", "create topics, lifecycle policies and index templates (idempotent)"),
    "parse": ("pipeline.cli.parse", "print the documents made of raw CRI lines"),
    "replay": ("pipeline.cli.replay", "re-index a time range of the raw topic (idempotent)"),
    "dead-letters": ("pipeline.cli.dead_letters", "list dead letters by reason, or retry them"),
    "status": ("pipeline.cli.inspect.status", "show the state of all shippers and workers, Kafka, Elasticsearch"),
    "fields": ("pipeline.cli.inspect.fields", "show which workload logs which field, with types and problems"),
    "tail": ("pipeline.cli.inspect.tail", "follow documents as they become searchable"),
    "trace": ("pipeline.cli.inspect.trace", "trace one document: file, slice, record, index, with the times"),
    "runbook": ("pipeline.cli.runbook", "print a runbook named by an alert or a status page"),
    "audit": ("pipeline.cli.audit", "verify that every event of log files or of Kafka is indexed"),
    "size": ("pipeline.cli.size", "compute sizes of Kafka, workers and Elasticsearch for a load"),
    "rules": ("pipeline.cli.rules", "compare two rules files over the lines in Kafka, before a rollout"),
    "check": ("pipeline.cli.check", "validate settings, rules and servers; for CI, and before a rollout"),
    "config": ("pipeline.cli.config", "show the effective settings with their origins"),
    "completion": ("pipeline.cli.completion.command", "print the completion script of bash, zsh or fish"),
}

ALIASES = {"dead": "dead-letters"}

GC_THRESHOLD = 50_000  # allocated objects that are not freed yet


def _command_list() -> str:
    rows = [f"  {name:13} {summary}" for name, (_, summary) in COMMANDS.items()]
    return "commands:\n" + "\n".join(rows) + "\n\n`crisp COMMAND --help` prints the options of a command."


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the first argument, the name of the command."""
    parser = argparse.ArgumentParser(
        prog="crisp",
        description="Kubernetes container logs, through Kafka, into Elasticsearch.",
        epilog=_command_list(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"crisp {__version__}")
    parser.add_argument("command", choices=[*COMMANDS, *ALIASES], metavar="COMMAND")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command. Exit code 2: wrong usage or invalid settings; 1: another error."""
    argv = sys.argv[1:] if argv is None else argv
    # Lines create short-lived objects without cycles, which need no collector: run it rarely, and never over modules.
    gc.set_threshold(GC_THRESHOLD, 20, 100)
    name = _parser().parse_args(argv[:1]).command
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
    return _exit_code(name, module.run, command_parser.parse_args(argv[1:]))


def _exit_code(name: str, run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Run the command and print its error, where it ends with one."""
    try:
        return int(run(arguments))
    except SettingsError as error:
        # A problem of the rules begins with file:line:column, which editors and CI parse.
        prefix = "" if isinstance(error, RulesError) else "crisp: "
        for problem in error.problems:
            print(f"{prefix}{problem}", file=sys.stderr)
        return 2
    except UsageError as error:
        print(f"crisp {name}: {error} (crisp {name} --help)", file=sys.stderr)
        return 2
    except CrispError as error:
        print(f"crisp: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of the output (`head`) has closed the pipe. Python would raise again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None:
            raise
        print(f"crisp: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
