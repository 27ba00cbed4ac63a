"""The policy for each container, from settings and pod: exclusion, metadata, grouping of lines."""

import logging
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from agents.kubernetes import termination
from agents.kubernetes.pod_watch import SILENT_SECONDS, Pod, PodWatch
from agents.tailing.container_tail import ContainerTail, Limits, MetadataState
from agents.tailing.held_memory import HeldMemory
from pipeline.config.exclusion import Exclusion
from pipeline.config.settings import KIB, ShipperSettings
from pipeline.contract import annotations, pod_metadata, record
from pipeline.contract.annotations import PodOptions
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import Grouping
from pipeline.grouping import grouper

INVALID_MAX_BYTES = 256 * KIB
"""Of all problems of annotations that are kept; further ones are not logged."""
PROBLEM_MAX_LENGTH = 500
TERMINATION_MARGIN_NS = 2 * 10**9  # the API's times are rounded down to seconds; the last output is written after that

log = logging.getLogger(__name__)


class ContainerPolicy:
    """Creates tails and updates their metadata from the API; without the API, metadata comes from the path."""

    def __init__(self, settings: ShipperSettings, pods: PodWatch | None) -> None:
        self.invalid: set[str] = set()  # problems of annotations
        self._invalid_bytes = 0
        self._exclusion = Exclusion(settings)
        self._exclusion_rules: dict[Instance, tuple[str, str]] = {}
        self.excluded_streams: dict[Instance, str] = {}  # read, but one stream is not indexed
        self._rules_version = -1
        self._settings = settings
        self._pods = pods
        self._metadata_version = -1
        self._grouping = settings.grouping
        self._limits = Limits(settings.slice_max_bytes, settings.event_max_bytes)
        self._annotations = frozenset(settings.annotations)
        self._held_memory = HeldMemory()

    def create_tail(self, instance: Instance, metadata: bytes, now: float) -> ContainerTail:
        """Create the tail of a container that was discovered at `now`, monotonic seconds."""
        node = self._settings.node_name
        key = record.container_key(instance.uid, instance.container, instance.restart)
        known = self._pods is None or bool(metadata)
        self._metadata_version = -1  # the next update searches the pod of this tail
        return ContainerTail(
            key,
            metadata or self.metadata(instance),
            node,
            self._grouping,
            self._limits,
            discovered_at=now,
            metadata=MetadataState.RECEIVED if known else MetadataState.WAITING,
            memory=self._held_memory,
        )

    def metadata(self, instance: Instance) -> bytes:
        """Return the current metadata of a container, as JSON."""
        node = self._settings.node_name
        pod = self._pods.find(instance) if self._pods else None
        if pod is not None:
            return pod_metadata.from_api(instance, node, pod, self._annotations, self._pod_options(instance, pod))
        if not instance.namespace:
            return pod_metadata.from_plain_file(instance.container, node)
        return pod_metadata.from_path(instance, node)

    def find_excluded(self, instances: Collection[Instance]) -> dict[Instance, str]:
        """Return the excluded instances, and why each is excluded."""
        changes = self._pods.changes if self._pods else 0
        if changes != self._rules_version:
            self._exclusion_rules, self._rules_version = {}, changes
        known = self._exclusion_rules
        self._exclusion_rules = {
            instance: known[instance] if instance in known else self._exclusion_rule(instance) for instance in instances
        }
        self.excluded_streams = {instance: stream for instance, (_, stream) in self._exclusion_rules.items() if stream}
        return {instance: rule for instance, (rule, _) in self._exclusion_rules.items() if rule}

    def _exclusion_rule(self, instance: Instance) -> tuple[str, str]:
        """Return why an instance is excluded, and which of its streams is excluded; empty where it is not."""
        pod = self._pods.find(instance) if self._pods else None
        options = self._pod_options(instance, pod) if pod else annotations.NO_OPTIONS
        rule = self._exclusion.reason(instance, options)
        return rule, "" if rule else next(iter(options.excluded_streams), "")

    def _pod_options(self, instance: Instance, pod: Pod) -> PodOptions:
        """Return the options of a pod, as far as permitted; log each problem once."""
        options = self._exclusion.pod_options(pod, instance.container)
        self._report_invalid(instance, options.invalid)
        return options

    def _report_invalid(self, instance: Instance, problems: Iterable[str]) -> None:
        for whole in problems:
            problem = whole if len(whole) <= PROBLEM_MAX_LENGTH else f"{whole[:PROBLEM_MAX_LENGTH]}…"
            size = sys.getsizeof(problem)
            if problem not in self.invalid and self._invalid_bytes + size <= INVALID_MAX_BYTES:
                self._invalid_bytes += size
                self.invalid.add(problem)
                log.warning("annotation of %s/%s ignored: %s", instance.namespace, instance.pod, problem)

    def has_terminated(self, instance: Instance, modified: int) -> bool:
        """Return whether the API reports that an instance has terminated, so that its log is complete.

        `modified`: mtime of its newest file, ns. If that is later, the status is an old one: restart numbers may go
        back, and then an instance is known under the number of an earlier one for a while.
        """
        pod = self._pods.find(instance) if self._pods else None
        terminated_at = termination.terminated_at(pod, instance) if pod else None
        return terminated_at is not None and modified <= terminated_at + TERMINATION_MARGIN_NS

    def pod_is_gone(self, instance: Instance) -> bool:
        """Return whether the API has no such pod: if its logs are deleted too, its containers have ended."""
        return self._pods is not None and bool(instance.namespace) and self._pods.is_gone(instance)

    def take_unseen(self) -> Iterator[Instance]:
        """Yield the containers of pods that came and went unseen, with their newest restart, but not excluded ones."""
        for pod in self._pods.take_unseen() if self._pods else ():
            metadata = pod["metadata"]
            for status in termination.statuses(pod):
                if not status.get("containerID"):
                    continue  # it was never started
                names = metadata["namespace"], metadata["name"], metadata["uid"], status["name"]
                instance = Instance(*names, status.get("restartCount") or 0)
                if not self._exclusion_rule(instance)[0]:
                    yield instance

    def update_metadata(self, tails: Mapping[Instance, ContainerTail], now: float) -> None:
        """Update tails from the API; a tail that waited too long is read with the metadata of its path.

        `now`: monotonic seconds.
        """
        if self._pods is None:
            return
        changes = self._pods.changes  # read once: the watch thread increments it concurrently
        changed, self._metadata_version = self._metadata_version != changes, changes
        limit = now - self._settings.metadata_wait_seconds
        late: Counter[str] = Counter()
        if any(
            tail.metadata is MetadataState.WAITING and tail.discovered_at < now - SILENT_SECONDS
            for tail in tails.values()
        ):
            self._pods.restart_if_silent()
        for instance, tail in tails.items():
            pod = self._pods.find(instance) if changed and instance.namespace else None
            if pod is not None:
                options = self._pod_options(instance, pod)
                metadata = pod_metadata.from_api(instance, tail.node, pod, self._annotations, options)
                tail.describe(metadata, self._requested_grouping(instance, options.multiline))
            elif tail.metadata is MetadataState.WAITING and tail.discovered_at < limit:
                late[instance.namespace] += 1
                tail.stop_waiting(pod_metadata.mark_metadata_missing(tail.pod))
        if late:
            log.warning(
                "pod metadata not received in time for %d containers; lines flagged metadata_missing", late.total()
            )

    def _requested_grouping(self, instance: Instance, multiline: str) -> Grouping:
        """Return the grouping that a pod requests; if it is invalid, stack traces are joined."""
        grouping, problem = grouper.requested_grouping(self._grouping, multiline)
        self._report_invalid(instance, [f"multiline: {problem}"] if problem else [])
        return grouping
