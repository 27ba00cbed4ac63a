"""`crisp check`: is everything as it should be, before a rollout? Each finding in a line, OK or what to do."""

import argparse

from pipeline import settings


def arguments(_: argparse.ArgumentParser) -> None:
    """The command's options."""


def run(_: argparse.Namespace) -> int:
    """Exit code 0 if all is well, 1 if a check failed; raises SettingsError when a setting is refused."""
    settings.load()
    print("settings: OK")
    return 0
