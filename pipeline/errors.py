"""Errors of crisp's environment (settings, records, servers), as one tree.

    CrispError
    ├── SettingsError            invalid settings; lists every problem
    │   └── RulesError           invalid rules file, likewise
    ├── UsageError               command-line arguments that are invalid or exclude each other
    ├── RecordError              a record breaks the contract, or has an unsupported version
    ├── StackError               the local Kafka or Elasticsearch cannot be installed or started
    ├── StateError               the shipper's state directory was replaced, and another shipper uses it
    ├── ResponseError            a response of Elasticsearch does not have the form of the request
    ├── DocumentLookupError      Elasticsearch cannot be queried for existing documents
    ├── KubernetesError          the Kubernetes API cannot be used: access, connection, status, or size of a response
    └── SetupError               topics or the index template cannot be created, or belong to somebody else
        └── UnavailableError     a server cannot be used now: a later try may succeed

Invalid data is a value, never an exception; a bug is an assertion.
"""


class CrispError(Exception):
    """An error that is shown to the user in one line, without a traceback."""


class SettingsError(CrispError):
    """Invalid settings; `problems` has one line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class RulesError(SettingsError):
    """An invalid rules file; each problem begins with file, line and column."""


class UsageError(CrispError):
    """Command-line arguments that are invalid or exclude each other."""


class RecordError(CrispError):
    """A record with crisp's header breaks the contract or has an unsupported version."""


class StackError(CrispError):
    """The local Kafka or Elasticsearch cannot be installed or started."""


class StateError(CrispError):
    """The shipper's state directory was replaced, and another shipper uses it."""


class SetupError(CrispError):
    """Topics or the index template cannot be created, or the existing ones belong to somebody else."""


class UnavailableError(SetupError):
    """A server does not respond, is starting, or does not accept the credentials yet: a later try may succeed."""


class ResponseError(CrispError):
    """A response of Elasticsearch does not have the form of the request: it may be another program's."""


class DocumentLookupError(CrispError):
    """Elasticsearch cannot be queried for existing documents."""


class KubernetesError(CrispError):
    """The Kubernetes API cannot be used: access, connection, status, or size of a response."""
