"""What deleted files that are not read yet hold of the disk, and which of them go when that is too much.

The biggest backlog is given up first, its oldest file first: a container that floods the disk never costs a quiet
one a line.
"""

from collections.abc import Mapping

from agents.tailing.container_tail import ContainerTail
from agents.tailing.log_file import LogFile
from pipeline.contract.pod_metadata import Instance

HeldFile = tuple[Instance, ContainerTail, LogFile]
"""A deleted file that is held open."""


def files_to_abandon(tails: Mapping[Instance, ContainerTail], max_bytes: int) -> tuple[int, list[HeldFile]]:
    """The bytes of disk that deleted files hold now, and the files to give up so that `most_bytes` are kept to."""
    held = [
        (size, (instance, tail, file))
        for instance, tail in tails.items()
        for file in tail.files
        if (size := file.held_bytes())
    ]
    total = left = sum(size for size, _ in held)
    given_up: list[HeldFile] = []
    while left > max_bytes:
        backlog: dict[Instance, int] = {}
        for _, (instance, _, file) in held:
            backlog[instance] = backlog.get(instance, 0) + file.size() - file.position
        worst = max(backlog, key=lambda instance: backlog[instance])
        chosen = next(entry for entry in held if entry[1][0] == worst)
        held.remove(chosen)
        left -= chosen[0]
        given_up.append(chosen[1])
    return total, given_up
