"""Images under the names that the Compose file and the Dockerfile have, built here, as there is no registry to ask.

The base is a small Debian; Kafka and Elasticsearch are those of `crisp local` and take the environment of the official
images. Kibana is no package that can be had: its stand-in responds to the two requests that are sent to it.
"""

import re
import shutil
import tempfile
from pathlib import Path

import yaml

from pipeline.local import artifacts
from tests.cluster.docker_daemon import DockerDaemon
from tests.cluster.images import rootfs
from tests.deploy.manifests import DEPLOY, ROOT

HERE = Path(__file__).parent
# How this machine reaches package registries, where it does so by an authority or a mirror of its own.
_MACHINE = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")


def build(docker: DockerDaemon) -> None:
    """Build what is not there. Raises StackError."""
    have = docker.rows("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
    tags = names()
    with tempfile.TemporaryDirectory(prefix="crisp-images-") as temporary:
        for name, tag in tags.items():
            if tag not in have:
                context = Path(temporary, name)
                if name == "rootfs":
                    rootfs.make(context)
                    docker.run("import", str(context), tag)
                    continue
                shutil.copytree(HERE / name, context)
                _add_files(name, context)
                docker.run("build", "--build-arg", f"PYTHON={tags['base']}", "--tag", tag, str(context))


def names() -> dict[str, str]:
    """The image of each stand-in, in the order in which they are built."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    servers = {
        name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", services[name]["image"])
        for name in ("kafka", "elasticsearch", "kibana")
    }
    (python,) = re.findall(r"^ARG PYTHON=(\S+)$", (DEPLOY / "images" / "Dockerfile").read_text(), re.MULTILINE)
    return {"rootfs": "crisp-rootfs:latest", "base": python, "java": "crisp-java:latest", **servers}


def _add_files(name: str, context: Path) -> None:
    """Add what is not in the repository to a build context."""
    if name == "base":
        for path in map(Path, _MACHINE):
            target = context / "machine" / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                shutil.copy(path, target)
    elif name == "kafka":
        shutil.copytree(artifacts.kafka(), context / "libs")
    elif name == "elasticsearch":
        archive = artifacts.elasticsearch(artifacts.ELASTICSEARCH_VERSIONS[0])
        shutil.unpack_archive(archive, context)
        (context / archive.stem).rename(context / "elasticsearch")
