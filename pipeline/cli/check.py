"""`crisp check`: validate settings, rules and servers before a rollout; one line for each result."""

import argparse
import asyncio
import contextlib
import dataclasses
import sys

from pipeline.cli.terminal import cluster
from pipeline.cli.terminal.json_text import encode_json
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.contract import cri
from pipeline.monitoring import log
from pipeline.operations import rule_test_runner
from pipeline.operations.check import kubernetes, log_directories
from pipeline.operations.check.finding import FAILED, WARNING, CheckResult
from pipeline.rules import loader

EXAMPLE = """examples:
  crisp check --rules rules.yaml
  crisp check --connect --json
  crisp check --kube --namespace logging

exit code 0: no check failed; 1: a rule test or a check failed (--strict: or a warning); 2: invalid settings or rules"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--rules", metavar="FILE", help="the rules file, instead of CRISP_RULES_FILE")
    parser.add_argument("--connect", action="store_true", help="also check Kafka and Elasticsearch; read-only")
    parser.add_argument("--strict", action="store_true", help="exit code 1 also for warnings")
    parser.add_argument("--json", action="store_true", help="print the results of the servers as one JSON object")
    cluster.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Return 0 if no check failed, else 1. Raises SettingsError for invalid settings or rules."""
    effective = load_settings()
    log.configure_cli()
    client = cluster.connect(args, effective)
    if args.rules:
        effective = dataclasses.replace(effective, rules_file=args.rules)
    with contextlib.redirect_stdout(sys.stderr if args.json else sys.stdout):
        print("settings: OK")
        print(f"document modules: OK, {'plain Python' if cri.__file__.endswith('.py') else 'compiled by mypyc'}")
        passed = not effective.rules_file or _check_rules(effective, strict=args.strict)
        directories = log_directories.run_checks(effective)
        passed = _print_results(directories, as_json=False, strict=args.strict) and passed
    results = _check_servers(effective) if args.connect else []
    if client is not None:
        results += kubernetes.run_checks(client, args.namespace)
    if args.connect or client is not None:
        passed = _print_results(results, as_json=args.json, strict=args.strict) and passed
    return 0 if passed else 1


def _check_servers(effective: Settings) -> list[CheckResult]:
    """Run the checks of Kafka and Elasticsearch."""
    from pipeline.operations.check import elasticsearch, kafka  # imported here: their clients load slowly

    return [*asyncio.run(kafka.run_checks(effective)), *asyncio.run(elasticsearch.run_checks(effective))]


def _print_results(results: list[CheckResult], *, as_json: bool, strict: bool) -> bool:
    """Print results; return whether none failed, with `strict` whether all are good."""
    bad = {FAILED, WARNING} if strict else {FAILED}
    passed = not any(result.status in bad for result in results)
    if as_json:
        print(encode_json({"good": passed, "findings": [result._asdict() for result in results]}))
    else:
        print("\n".join(result.line() for result in results))
    return passed


def _check_rules(effective: Settings, *, strict: bool) -> bool:
    """Load the rules and run their tests; return whether all passed, with `strict` also without a warning."""
    parsed = loader.load_file(effective)
    for warning in parsed.warnings:
        print(f"{warning} (warning)")
    number = len(parsed.ruleset.rules)
    print(f"rules: OK, {number} {'rule' if number == 1 else 'rules'}, {parsed.ruleset.digest}")
    failed = 0
    for test, differences in rule_test_runner.run_rule_tests(parsed.tests, parsed.ruleset, effective):
        if differences:
            failed += 1
            print(f'{effective.rules_file}:{test.line}:{test.column} the test "{test.name}" failed')
            for difference in differences:
                print(f"    {difference}")
    print(f"rule tests: {len(parsed.tests) - failed} passed" + (f", {failed} failed" if failed else ""))
    return not failed and not (strict and parsed.warnings)
