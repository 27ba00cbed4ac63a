"""`crisp check`: is everything as it should be, before a rollout? Each finding in a line, OK or what to do."""

import argparse
import asyncio
import contextlib
import dataclasses
import sys

import orjson

from pipeline.config import settings
from pipeline.config.settings import Settings
from pipeline.monitoring import log
from pipeline.operations import rule_test_runner
from pipeline.operations.check.finding import FAILED
from pipeline.rules import loader

EXAMPLE = """examples:
  crisp check --rules rules.yaml
  crisp check --connect --json

exit code 0: all is well; 1: a test of the rules or a check of the servers failed; 2: settings or rules are refused"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--rules", metavar="FILE", help="the rules file, instead of CRISP_RULES_FILE")
    parser.add_argument("--connect", action="store_true", help="ask Kafka and Elasticsearch too; nothing is written")
    parser.add_argument("--json", action="store_true", help="print the findings of --connect as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 if all is well, 1 if a check failed; raises SettingsError when settings or rules are refused."""
    effective = settings.load()
    log.configure_cli()
    if args.rules:
        effective = dataclasses.replace(effective, rules_file=args.rules)
    with contextlib.redirect_stdout(sys.stderr if args.json else sys.stdout):
        print("settings: OK")
        good = not effective.rules_file or _check_rules(effective)
    if args.connect:
        good = _check_servers(effective, as_json=args.json) and good
    return 0 if good else 1


def _check_servers(effective: Settings, *, as_json: bool) -> bool:
    """Ask Kafka and Elasticsearch; whether nothing failed."""
    from pipeline.operations.check import elasticsearch, kafka  # only here: their clients are slow to load

    found = [*asyncio.run(kafka.run_checks(effective)), *asyncio.run(elasticsearch.run_checks(effective))]
    good = all(one.state != FAILED for one in found)
    if as_json:
        print(orjson.dumps({"good": good, "findings": [one._asdict() for one in found]}).decode())
    else:
        print("\n".join(one.line() for one in found))
    return good


def _check_rules(effective: Settings) -> bool:
    """Read the rules and run their tests; whether all passed."""
    read = loader.load_file(effective)
    for warning in read.warnings:
        print(f"{warning} (a warning)")
    number = len(read.ruleset.rules)
    print(f"rules: OK, {number} {'rule' if number == 1 else 'rules'}, {read.ruleset.digest}")
    failed = 0
    for trial, differences in rule_test_runner.run_rule_tests(read.tests, read.ruleset, effective):
        if differences:
            failed += 1
            print(f'{effective.rules_file}:{trial.line}:{trial.column} the test "{trial.name}" failed')
            for difference in differences:
                print(f"    {difference}")
    print(f"tests of the rules: {len(read.tests) - failed} passed" + (f", {failed} failed" if failed else ""))
    return not failed
