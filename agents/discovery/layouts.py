"""Layouts of logs beside the kubelet's: plain directories, and docker's own. See `agents.discovery.scanner`."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import DiscoveredFile, Discovery, Layout, docker_files, kubelet_layout, rotated_files
from pipeline.config.settings import Settings
from pipeline.contract import pod_metadata
from pipeline.contract.pod_metadata import Instance

_PLAIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,127})\.log")
_DOCKER = re.compile(r"[0-9a-f]{64}")
_CONFIG_MAX_BYTES = 1 << 20

log = logging.getLogger(__name__)


def create_discovery(settings: Settings) -> Discovery:
    """All layouts that the settings name."""
    node, apart = settings.node_name, Path(os.path.realpath(settings.docker_dir)) if settings.docker_dir else None
    found = [kubelet_layout(Path(settings.logs_dir), apart)]
    found += [plain_layout(Path(directory), node) for directory in settings.plain_dirs.split()]
    found += [docker_layout(apart, node)] if apart else []
    listing = DirectoryCache(events=settings.discovery != "poll", poll=settings.discovery != "events")
    return Discovery(found, listing)


def plain_layout(directory: Path, node: str) -> Layout:
    """Each `<name>.log` of a directory is the log of a container `name` of no pod, its rotated siblings beside it."""

    def files(listing: DirectoryCache) -> Iterator[DiscoveredFile]:
        top = os.path.realpath(directory)
        if not Path(top).is_dir():
            listing.mark_missing(top)
            return
        uid = hashlib.blake2b(top.encode(), digest_size=8).hexdigest()
        for name in listing.list_names(top):
            match = _PLAIN.fullmatch(name)
            if match is not None:
                instance = Instance("", "", uid, match[1], 0)
                yield from rotated_files(listing, top, name, instance, pod_metadata.from_plain_file(match[1], node))

    return files


def docker_layout(directory: Path, node: str) -> Layout:
    """Docker's `containers` directory; those of pods are left to the kubelet's layout, which links to them."""
    known: dict[str, tuple[Instance, bytes] | None] = {}

    def files(listing: DirectoryCache) -> Iterator[DiscoveredFile]:
        top = os.path.realpath(directory)
        if not Path(top).is_dir():
            listing.mark_missing(top)
            return
        names = [name for name in listing.list_names(top) if _DOCKER.fullmatch(name)]
        for gone in known.keys() - names:
            del known[gone]
        for name in names:
            if name not in known:
                config = _read_config(f"{top}/{name}/config.v2.json")
                if config is None:
                    continue
                known[name] = _parse_config(name, config, node)
            about = known[name]
            if about is not None:
                yield from docker_files(listing, Path(top), f"{top}/{name}/{name}-json.log", *about)

    return files


def _read_config(path: str) -> dict[str, Any] | None:
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


def _parse_config(container_id: str, config: dict[str, Any], node: str) -> tuple[Instance, bytes] | None:
    """The container and its metadata; None for one that the kubelet runs."""
    if pod_metadata.is_kubelet_managed(config):
        return None
    about = pod_metadata.from_docker(container_id, config, node)
    return Instance("", "", container_id, str(orjson.loads(about)["container"]), 0), about
