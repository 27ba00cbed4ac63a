"""Layouts of logs beside the kubelet's: plain directories, and docker's own. See `agents.discovery.scanner`."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from agents.discovery.directory_cache import Listing
from agents.discovery.scanner import Discovery, Found, Layout, kubelet, of_docker, siblings
from pipeline.config.settings import Settings
from pipeline.contract import pod_metadata
from pipeline.contract.pod_metadata import Instance

_PLAIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,127})\.log")
_DOCKER = re.compile(r"[0-9a-f]{64}")
_CONFIG_MAX_BYTES = 1 << 20

log = logging.getLogger(__name__)


def discovery(settings: Settings) -> Discovery:
    """All layouts that the settings name."""
    node, apart = settings.node_name, Path(os.path.realpath(settings.docker_dir)) if settings.docker_dir else None
    found = [kubelet(Path(settings.logs_dir), apart)]
    found += [plain(Path(directory), node) for directory in settings.plain_dirs.split()]
    found += [docker(apart, node)] if apart else []
    listing = Listing(events=settings.discovery != "poll", poll=settings.discovery != "events")
    return Discovery(found, listing)


def plain(directory: Path, node: str) -> Layout:
    """Each `<name>.log` of a directory is the log of a container `name` of no pod, its rotated siblings beside it."""

    def files(listing: Listing) -> Iterator[Found]:
        top = os.path.realpath(directory)
        if not Path(top).is_dir():
            listing.missing(top)
            return
        uid = hashlib.blake2b(top.encode(), digest_size=8).hexdigest()
        for name in listing.names(top):
            match = _PLAIN.fullmatch(name)
            if match is not None:
                instance = Instance("", "", uid, match[1], 0)
                yield from siblings(listing, top, name, instance, pod_metadata.of_plain(match[1], node))

    return files


def docker(directory: Path, node: str) -> Layout:
    """Docker's `containers` directory; those of pods are left to the kubelet's layout, which links to them."""
    known: dict[str, tuple[Instance, bytes] | None] = {}

    def files(listing: Listing) -> Iterator[Found]:
        top = os.path.realpath(directory)
        if not Path(top).is_dir():
            listing.missing(top)
            return
        names = [name for name in listing.names(top) if _DOCKER.fullmatch(name)]
        for gone in known.keys() - names:
            del known[gone]
        for name in names:
            if name not in known:
                config = _config(f"{top}/{name}/config.v2.json")
                if config is None:
                    continue
                known[name] = _described(name, config, node)
            about = known[name]
            if about is not None:
                yield from of_docker(listing, Path(top), f"{top}/{name}/{name}-json.log", *about)

    return files


def _config(path: str) -> dict[str, Any] | None:
    """Docker's own description of a container; None while it is not there or not whole."""
    try:
        with open(path, "rb") as file:
            found = orjson.loads(file.read(_CONFIG_MAX_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as fault:
        log.warning("docker's description of a container cannot be read, tried again: %s", fault)
        return None
    return found if isinstance(found, dict) else None


def _described(identity: str, config: dict[str, Any], node: str) -> tuple[Instance, bytes] | None:
    """The container and its metadata; None for one that the kubelet runs."""
    if pod_metadata.is_of_kubelet(config):
        return None
    about = pod_metadata.of_docker(identity, config, node)
    return Instance("", "", identity, str(orjson.loads(about)["container"]), 0), about
