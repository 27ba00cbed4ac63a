"""What of a pod steers the reading of its logs: whether it is read, with which metadata, how lines are joined."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from agents.kubernetes.pod_watch import DOUBT_SECONDS, Pod, PodWatch
from agents.tailing.container_tail import Limits, Tail
from pipeline.config.exclusion import Exclusion
from pipeline.config.settings import Settings
from pipeline.contract import annotations, pod_metadata, record
from pipeline.contract.annotations import Wish
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import Grouping
from pipeline.grouping import grouper

MOST_REFUSED = 1000

log = logging.getLogger(__name__)


class Labelling:
    """Makes tails and tells them what the API has told; without the API, what their path tells is all."""

    def __init__(self, settings: Settings, pods: PodWatch | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.refused: set[str] = set()  # what annotations ask for and cannot be, in words
        self._exclusion = Exclusion(settings)
        self._rules: dict[Instance, tuple[str, str]] = {}
        self.muted: dict[Instance, str] = {}  # those of which one stream is not indexed, and which
        self._rules_of = -1
        self._settings = settings
        self._pods = pods
        self._changes = -1
        self._grouping = settings.grouping
        self._limits = Limits(settings.slice_max_bytes, settings.event_max_bytes)
        self._annotations = frozenset(settings.annotations.split())

    def tail(self, instance: Instance, about: bytes) -> Tail:
        """A tail for a container that is read from now on."""
        node = self._settings.node_name
        key = record.container_key(instance.uid, instance.container, instance.restart)
        made = Tail(key, about or self.metadata(instance), node, self._grouping, self._limits)
        made.born = self._clock()
        made.described = self._pods is None or bool(about)
        made.unlabelled = not made.described
        self._changes = -1  # so that it is looked up
        return made

    def metadata(self, instance: Instance) -> bytes:
        """What is known of a container now."""
        node = self._settings.node_name
        found = self._pods.of(instance) if self._pods else None
        if found is not None:
            return pod_metadata.from_api(instance, node, found, self._annotations, self._wish(instance, found))
        if not instance.namespace:
            return pod_metadata.of_plain(instance.container, node)
        return pod_metadata.from_path(instance, node)

    def excluded(self, instances: Collection[Instance]) -> dict[Instance, str]:
        """Those that are not to be read, and why."""
        changes = self._pods.changes if self._pods else 0
        if changes != self._rules_of:
            self._rules, self._rules_of = {}, changes
        self._rules = {one: self._rules[one] if one in self._rules else self._rule(one) for one in instances}
        self.muted = {instance: stream for instance, (_, stream) in self._rules.items() if stream}
        return {instance: rule for instance, (rule, _) in self._rules.items() if rule}

    def _rule(self, instance: Instance) -> tuple[str, str]:
        """Why an instance is not read, empty for one that is; then which stream of it is not indexed, if one is not."""
        found = self._pods.of(instance) if self._pods else None
        wish = self._wish(instance, found) if found else annotations.NO_WISH
        rule = self._exclusion.rule(instance, wish)
        return rule, "" if rule else next(iter(wish.excluded), "")

    def _wish(self, instance: Instance, found: Pod) -> Wish:
        """What a pod asks for, as far as it may. What is wrong with it is said once."""
        wish = self._exclusion.wish(found, instance.container)
        self._refuse(instance, wish.refused)
        return wish

    def _refuse(self, instance: Instance, faults: Iterable[str]) -> None:
        for fault in faults:
            if fault not in self.refused and len(self.refused) < MOST_REFUSED:
                self.refused.add(fault)
                log.warning("annotation of %s/%s is not used: %s", instance.namespace, instance.pod, fault)

    def ended(self, instance: Instance) -> bool:
        """Whether the API has told that the pod came to its end, so that its log was whole."""
        found = self._pods.of(instance) if self._pods else None
        return found is not None and found.get("status", {}).get("phase") in {"Succeeded", "Failed"}

    def describe(self, tails: Mapping[Instance, Tail]) -> None:
        """Take what the API has told; a tail that waited long enough goes with what its path tells."""
        if self._pods is None:
            return
        changes = self._pods.changes  # once: the watching thread counts on meanwhile
        changed, self._changes = self._changes != changes, changes
        now = self._clock()
        limit = now - self._settings.metadata_wait_seconds
        late: Counter[str] = Counter()
        if any(not tail.described and tail.born < now - DOUBT_SECONDS for tail in tails.values()):
            self._pods.doubt()
        for instance, tail in tails.items():
            found = self._pods.of(instance) if changed and instance.namespace else None
            if found is not None:
                wish = self._wish(instance, found)
                tail.pod = pod_metadata.from_api(instance, tail.node, found, self._annotations, wish)
                tail.grouping = self._asked(instance, wish.multiline)
                tail.described, tail.unlabelled = True, False
            elif not tail.described and tail.born < limit:
                late[instance.namespace] += 1
                tail.pod = pod_metadata.unlabelled(tail.pod)
                tail.described = True
        if late:
            log.warning("metadata of %d pods did not come in time: their lines are flagged", late.total())

    def _asked(self, instance: Instance, wish: str) -> Grouping:
        """The grouping that a pod asks for; stack traces are joined where it cannot be."""
        found, fault = grouper.asked(self._grouping, wish)
        self._refuse(instance, [f"multiline: {fault}"] if fault else [])
        return found
