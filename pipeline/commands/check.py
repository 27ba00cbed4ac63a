"""`crisp check`: is everything as it should be, before a rollout? Each finding in a line, OK or what to do."""

import argparse
import dataclasses

from pipeline import settings
from pipeline.rules import exam, file
from pipeline.settings import Settings

EXAMPLE = """example:
  crisp check --rules rules.yaml

exit code 0: all is well; 1: a test of the rules failed; 2: settings or rules are refused"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rules", metavar="FILE", help="the rules file, instead of CRISP_RULES_FILE")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 if all is well, 1 if a check failed; raises SettingsError when settings or rules are refused."""
    effective = settings.load()
    print("settings: OK")
    if args.rules:
        effective = dataclasses.replace(effective, rules_file=args.rules)
    return 0 if not effective.rules_file or _rules(effective) else 1


def _rules(effective: Settings) -> bool:
    """Read the rules and run their tests; whether all passed."""
    read = file.examine(effective)
    for warning in read.warnings:
        print(f"{warning} (a warning)")
    number = len(read.ruleset.rules)
    print(f"rules: OK, {number} {'rule' if number == 1 else 'rules'}, {read.ruleset.digest}")
    failed = 0
    for trial, differences in exam.run(read.trials, read.ruleset, effective):
        if differences:
            failed += 1
            print(f'{effective.rules_file}:{trial.line}:{trial.column} the test "{trial.name}" failed')
            for difference in differences:
                print(f"    {difference}")
    print(f"tests of the rules: {len(read.trials) - failed} passed" + (f", {failed} failed" if failed else ""))
    return not failed
