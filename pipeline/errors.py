"""What can go wrong with the world around crisp, as one tree.

    CrispError
    ├── SettingsError    the settings are refused; holds every fault found
    │   └── RulesError   the rules file is refused, likewise
    ├── UsageError       arguments that do not go together
    ├── RecordError      a record of the topic breaks the contract, or is of a version we do not know
    ├── StackError       the local Kafka or Elasticsearch cannot be had or started
    ├── LookupFailure    Elasticsearch does not tell which documents are there
    └── SetupError       topics or index template cannot be made, or are not ours

Data that is bad is a value, never an exception; a bug is an assertion.
"""


class CrispError(Exception):
    """A fault that is told to the user in one line, without a traceback."""


class SettingsError(CrispError):
    """The settings are refused; `faults` has one line for each thing to mend."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class RulesError(SettingsError):
    """The rules file is refused; each fault begins with file, line and column."""


class UsageError(CrispError):
    """Arguments of a command that are no good together."""


class RecordError(CrispError):
    """A record that claims to be ours breaks the contract or has an unknown version."""


class StackError(CrispError):
    """The local Kafka or Elasticsearch cannot be had or started."""


class SetupError(CrispError):
    """Topics or index template cannot be made, or what is there is not ours."""


class DocumentLookupError(CrispError):
    """Elasticsearch does not tell which documents are there."""
