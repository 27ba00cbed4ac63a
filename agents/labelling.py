"""What of a pod steers the reading of its logs: whether it is read, with which metadata, how lines are joined."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from agents.podwatch import PodWatch
from agents.tail import Limits, Tail
from pipeline import grouping, pod, record
from pipeline.pod import Instance
from pipeline.record import Grouping
from pipeline.settings import Settings

log = logging.getLogger(__name__)


class Labelling:
    """Makes tails and tells them what the API has told; without the API, what their path tells is all."""

    def __init__(self, settings: Settings, pods: PodWatch | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.refused_patterns: set[str] = set()
        self._settings = settings
        self._pods = pods
        self._changes = -1
        self._grouping = grouping.by(settings)
        self._limits = Limits(settings.slice_max_bytes, settings.event_max_bytes)
        self._annotations = frozenset(settings.annotations.split())
        self._unread = frozenset(settings.exclude_namespaces.split())

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
            return pod.from_api(instance, node, found, self._annotations)
        if not instance.namespace:
            return pod.of_plain(instance.container, node)
        return pod.from_path(instance, node)

    def excluded(self, instances: Iterable[Instance]) -> set[Instance]:
        """Those that are not to be read."""
        return {instance for instance in instances if self._excluded(instance)}

    def _excluded(self, instance: Instance) -> bool:
        if instance.namespace in self._unread:
            return True
        found = self._pods.of(instance) if self._pods and self._settings.pods_may_exclude else None
        return found is not None and pod.excluded(found, self._settings.annotation_prefix)

    def ended(self, instance: Instance) -> bool:
        """Whether the API has told that the pod came to its end, so that its log was whole."""
        found = self._pods.of(instance) if self._pods else None
        return found is not None and found.get("status", {}).get("phase") in {"Succeeded", "Failed"}

    def describe(self, tails: Mapping[Instance, Tail]) -> None:
        """Take what the API has told; a tail that waited long enough goes with what its path tells."""
        if self._pods is None:
            return
        changed, self._changes = self._changes != self._pods.changes, self._pods.changes
        limit = self._clock() - self._settings.metadata_wait_seconds
        late: Counter[str] = Counter()
        for instance, tail in tails.items():
            found = self._pods.of(instance) if changed and instance.namespace else None
            if found is not None:
                tail.pod = pod.from_api(instance, tail.node, found, self._annotations)
                tail.grouping = self._asked(instance, pod.multiline(found, self._settings.annotation_prefix))
                tail.described, tail.unlabelled = True, False
            elif not tail.described and tail.born < limit:
                late[instance.namespace] += 1
                tail.pod = pod.unlabelled(tail.pod)
                tail.described = True
        if late:
            log.warning("metadata of %d pods did not come in time: their lines are flagged", late.total())

    def _asked(self, instance: Instance, wish: str) -> Grouping:
        """The grouping that a pod asks for. What is wrong with it is said once."""
        found, fault = grouping.asked(self._grouping, wish)
        if fault and wish not in self.refused_patterns:
            self.refused_patterns.add(wish)
            name = f"{instance.namespace}/{instance.pod}"
            log.warning("%s: its multi-line annotation is not used, stack traces are joined: %s", name, fault)
        return found
