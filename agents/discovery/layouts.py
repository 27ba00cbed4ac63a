"""Layouts of logs other than the kubelet's: plain directories, and docker's own. See `agents.discovery.scanner`."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import orjson

from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import DiscoveredFile, Discovery, Layout, docker_files, kubelet_layout, rotated_files
from pipeline.config.settings import ShipperSettings
from pipeline.contract import pod_metadata
from pipeline.contract.json_types import JsonObject
from pipeline.contract.pod_metadata import Instance

_PLAIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,127})\.log")
_DOCKER = re.compile(r"[0-9a-f]{64}")
_CONFIG_MAX_BYTES = 1 << 20

log = logging.getLogger(__name__)


def create_discovery(settings: ShipperSettings) -> Discovery:
    """Create the discovery of all layouts in the settings."""
    node, docker_dir = settings.node_name, Path(os.path.realpath(settings.docker_dir)) if settings.docker_dir else None
    # A node without a kubelet has no default directory; one that is set must exist.
    optional = settings.logs_dir == ShipperSettings().logs_dir and bool(settings.plain_dirs or settings.docker_dir)
    layouts = [kubelet_layout(Path(settings.logs_dir), docker_dir, required=not optional)]
    layouts += [plain_layout(Path(directory), node) for directory in settings.plain_dirs]
    layouts += [docker_layout(docker_dir, node)] if docker_dir else []
    cache = DirectoryCache(events=settings.discovery != "poll", poll=settings.discovery != "events")
    return Discovery(layouts, cache)


def plain_layout(directory: Path, node: str) -> Layout:
    """Each `<name>.log` of a directory, with its rotated files, is the log of a container `name` without a pod."""

    def files(cache: DirectoryCache) -> Iterator[DiscoveredFile]:
        top = os.path.realpath(directory)
        if not cache.has_top(top):
            return
        uid = hashlib.blake2b(top.encode(), digest_size=8).hexdigest()
        for name in cache.list_names(top):
            match = _PLAIN.fullmatch(name)
            if match is not None:
                instance = Instance("", "", uid, match[1], 0)
                yield from rotated_files(cache, top, name, instance, pod_metadata.from_plain_file(match[1], node))

    return files


def docker_layout(directory: Path, node: str) -> Layout:
    """Docker's `containers` directory, without the containers of pods: the kubelet's layout links to them."""
    containers: dict[str, tuple[Instance, bytes] | None] = {}

    def files(cache: DirectoryCache) -> Iterator[DiscoveredFile]:
        top = os.path.realpath(directory)
        if not cache.has_top(top):
            return
        names = [name for name in cache.list_names(top) if _DOCKER.fullmatch(name)]
        for removed in containers.keys() - names:
            del containers[removed]
        for name in names:
            if name not in containers:
                config = _read_config(f"{top}/{name}/config.v2.json")
                if config is None:
                    continue
                containers[name] = _parse_config(name, config, node)
            container = containers[name]
            if container is not None:
                yield from docker_files(cache, Path(top), f"{top}/{name}/{name}-json.log", *container)

    return files


def _read_config(path: str) -> JsonObject | None:
    """Return docker's configuration of a container; None while it does not exist or is incomplete."""
    try:
        with open(path, "rb") as file:
            config = orjson.loads(file.read(_CONFIG_MAX_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("cannot read docker's configuration of a container, retrying: %s", error)
        return None
    return config if isinstance(config, dict) else None


def _parse_config(container_id: str, config: JsonObject, node: str) -> tuple[Instance, bytes] | None:
    """Return the container and its metadata as JSON; None for one that the kubelet manages."""
    if pod_metadata.is_kubelet_managed(config):
        return None
    metadata = pod_metadata.from_docker(container_id, config, node)
    return Instance("", "", container_id, str(orjson.loads(metadata)["container"]), 0), metadata
