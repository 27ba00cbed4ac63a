"""What of a pod steers the reading of its logs: whether it is read, with which metadata, how lines are joined."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from agents.kubernetes.pod_watch import SILENT_SECONDS, Pod, PodWatch
from agents.tailing.container_tail import ContainerTail, Limits
from pipeline.config.exclusion import Exclusion
from pipeline.config.settings import Settings
from pipeline.contract import annotations, pod_metadata, record
from pipeline.contract.annotations import PodOptions
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import Grouping
from pipeline.grouping import grouper

MAX_INVALID = 1000

log = logging.getLogger(__name__)


class ContainerPolicy:
    """Makes tails and tells them what the API has told; without the API, what their path tells is all."""

    def __init__(self, settings: Settings, pods: PodWatch | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.invalid: set[str] = set()  # what annotations ask for and cannot be, in words
        self._exclusion = Exclusion(settings)
        self._exclusion_rules: dict[Instance, tuple[str, str]] = {}
        self.excluded_streams: dict[Instance, str] = {}  # those of which one stream is not indexed, and which
        self._rules_version = -1
        self._settings = settings
        self._pods = pods
        self._metadata_version = -1
        self._grouping = settings.grouping
        self._limits = Limits(settings.slice_max_bytes, settings.event_max_bytes)
        self._annotations = frozenset(settings.annotations.split())

    def create_tail(self, instance: Instance, metadata: bytes) -> ContainerTail:
        """A tail for a container that is read from now on."""
        node = self._settings.node_name
        key = record.container_key(instance.uid, instance.container, instance.restart)
        made = ContainerTail(key, metadata or self.metadata(instance), node, self._grouping, self._limits)
        made.discovered_at = self._clock()
        made.metadata_ready = self._pods is None or bool(metadata)
        made.metadata_missing = not made.metadata_ready
        self._metadata_version = -1  # so that it is looked up
        return made

    def metadata(self, instance: Instance) -> bytes:
        """What is known of a container now."""
        node = self._settings.node_name
        found = self._pods.find(instance) if self._pods else None
        if found is not None:
            return pod_metadata.from_api(instance, node, found, self._annotations, self._pod_options(instance, found))
        if not instance.namespace:
            return pod_metadata.from_plain_file(instance.container, node)
        return pod_metadata.from_path(instance, node)

    def find_excluded(self, instances: Collection[Instance]) -> dict[Instance, str]:
        """Those that are not to be read, and why."""
        changes = self._pods.changes if self._pods else 0
        if changes != self._rules_version:
            self._exclusion_rules, self._rules_version = {}, changes
        self._exclusion_rules = {
            one: self._exclusion_rules[one] if one in self._exclusion_rules else self._exclusion_rule(one)
            for one in instances
        }
        self.excluded_streams = {instance: stream for instance, (_, stream) in self._exclusion_rules.items() if stream}
        return {instance: rule for instance, (rule, _) in self._exclusion_rules.items() if rule}

    def _exclusion_rule(self, instance: Instance) -> tuple[str, str]:
        """Why an instance is not read, empty for one that is; then which stream of it is not indexed, if one is not."""
        found = self._pods.find(instance) if self._pods else None
        wish = self._pod_options(instance, found) if found else annotations.NO_OPTIONS
        rule = self._exclusion.reason(instance, wish)
        return rule, "" if rule else next(iter(wish.excluded_streams), "")

    def _pod_options(self, instance: Instance, pod: Pod) -> PodOptions:
        """What a pod asks for, as far as it may. What is wrong with it is said once."""
        wish = self._exclusion.pod_options(pod, instance.container)
        self._report_invalid(instance, wish.invalid)
        return wish

    def _report_invalid(self, instance: Instance, problems: Iterable[str]) -> None:
        for fault in problems:
            if fault not in self.invalid and len(self.invalid) < MAX_INVALID:
                self.invalid.add(fault)
                log.warning("annotation of %s/%s is not used: %s", instance.namespace, instance.pod, fault)

    def pod_has_ended(self, instance: Instance) -> bool:
        """Whether the API has told that the pod came to its end, so that its log was whole."""
        found = self._pods.find(instance) if self._pods else None
        return found is not None and found.get("status", {}).get("phase") in {"Succeeded", "Failed"}

    def update_metadata(self, tails: Mapping[Instance, ContainerTail]) -> None:
        """Take what the API has told; a tail that waited long enough goes with what its path tells."""
        if self._pods is None:
            return
        changes = self._pods.changes  # once: the watching thread counts on meanwhile
        changed, self._metadata_version = self._metadata_version != changes, changes
        now = self._clock()
        limit = now - self._settings.metadata_wait_seconds
        late: Counter[str] = Counter()
        if any(not tail.metadata_ready and tail.discovered_at < now - SILENT_SECONDS for tail in tails.values()):
            self._pods.restart_if_silent()
        for instance, tail in tails.items():
            found = self._pods.find(instance) if changed and instance.namespace else None
            if found is not None:
                wish = self._pod_options(instance, found)
                tail.pod = pod_metadata.from_api(instance, tail.node, found, self._annotations, wish)
                tail.grouping = self._requested_grouping(instance, wish.multiline)
                tail.metadata_ready, tail.metadata_missing = True, False
            elif not tail.metadata_ready and tail.discovered_at < limit:
                late[instance.namespace] += 1
                tail.pod = pod_metadata.mark_metadata_missing(tail.pod)
                tail.metadata_ready = True
        if late:
            log.warning("metadata of %d pods did not come in time: their lines are flagged", late.total())

    def _requested_grouping(self, instance: Instance, multiline: str) -> Grouping:
        """The grouping that a pod asks for; stack traces are joined where it cannot be."""
        found, fault = grouper.requested_grouping(self._grouping, multiline)
        self._report_invalid(instance, [f"multiline: {fault}"] if fault else [])
        return found
