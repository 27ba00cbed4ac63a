"""Limits the disk space held by deleted files with unread lines.

Finished files are closed first, which loses nothing. Then the container with the biggest backlog loses its oldest file
first, so a container that floods the disk never costs another container a line.
"""

from collections.abc import Mapping

from agents.tailing.container_tail import ContainerTail
from agents.tailing.log_file import LogFile
from pipeline.contract.pod_metadata import Instance

HeldFile = tuple[Instance, ContainerTail, LogFile]
"""A deleted file that is held open."""


def files_to_abandon(tails: Mapping[Instance, ContainerTail], max_bytes: int) -> tuple[int, list[HeldFile]]:
    """Return the bytes of disk that deleted files hold, and the files to abandon to get down to `max_bytes`."""
    held = [
        (size, (instance, tail, file))
        for instance, tail in tails.items()
        for file in tail.files
        if (size := file.held_bytes(listed=file.listed))
    ]
    total = left = sum(size for size, _ in held)
    abandoned: list[HeldFile] = []
    while left > max_bytes:
        backlog: dict[Instance, int] = {}
        for _, (instance, _, file) in held:
            backlog[instance] = backlog.get(instance, 0) + file.size() - file.position
        largest = max(backlog, key=lambda instance: backlog[instance])
        finished = (entry for entry in held if entry[1][2].is_finished())
        oldest = next(finished, None) or next(entry for entry in held if entry[1][0] == largest)
        held.remove(oldest)
        left -= oldest[0]
        abandoned.append(oldest[1])
    return total, abandoned
