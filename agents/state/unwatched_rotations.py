"""Rotations that no scan saw: the shipper was stopped, or the disk did not respond, for some seconds.

A runtime writes to the newest file until it is rotated, and old files are deleted first. So while the newest file of
the last scan has a name, or a compressed copy, no file after it is missing. If it has none, and newer files exist,
others may have come and gone in between.
"""

import math

from agents.discovery.scanner import Scan
from agents.state.losses import Loss, LossTracker
from agents.state.missing_files import RENAME_GRACE_SECONDS
from agents.tailing.byte_ranges import ByteRanges
from agents.tailing.log_file import LogFile
from pipeline.contract import gap, record
from pipeline.contract.pod_metadata import Instance

UNWATCHED_SECONDS = 5.0  # scans are less than a second apart; the kubelet rotates a log every 10 s at most


class UnwatchedRotations:
    """Detects losses between two scans. Call `begin` at the start of a scan, `resolve` at its end."""

    def __init__(self, loss_tracker: LossTracker) -> None:
        self._losses = loss_tracker
        self._watched_at = math.inf  # monotonic time at which the last scan began
        self._unwatched = False
        self._suspects: dict[Instance, tuple[LogFile, float]] = {}  # newest files that lost their name, since when

    def begin(self, scan: Scan) -> None:
        """Begin a scan: was there a long time without one before it?"""
        self._unwatched = scan.now - self._watched_at > UNWATCHED_SECONDS
        self._watched_at = scan.now if scan.begun_at is None else scan.begun_at

    def note_newer_files(self, instance: Instance, newest: LogFile, now: float) -> None:
        """Note that a scan found new files next to the file that was the newest and listed before."""
        if self._unwatched and not newest.listed and not newest.suspended:
            self._suspects.setdefault(instance, (newest, now))

    def mark_present(self, identity: str) -> None:
        """Clear a suspect: a file with its content, its compressed copy, exists."""
        for instance, (file, _) in list(self._suspects.items()):
            if file.identity == identity:
                del self._suspects[instance]

    def resolve(self, now: float) -> None:
        """Record a loss for each newest file that got no name for a while: it may have been about to be renamed."""
        for instance, (file, since) in list(self._suspects.items()):
            if file.listed:
                del self._suspects[instance]
            elif now - since > RENAME_GRACE_SECONDS:
                del self._suspects[instance]
                self._losses.record(_make_loss(instance, file))

    @property
    def has_suspects(self) -> bool:
        """Whether a loss will soon be decided."""
        return bool(self._suspects)


def _make_loss(instance: Instance, file: LogFile) -> Loss:
    """Make the loss of unknown size after a file, whose own bytes are read."""
    seed = b"after " + (file.identity.encode() or b"inode %d %d" % (file.device, file.inode))
    identity = record.identity(instance.uid, instance.container, instance.restart, seed)
    return Loss(identity, instance, str(file.path), gap.VANISHED_FILE, ByteRanges(), None, since=file.modified)
