"""Every command and every name in the deployment's pages is one that there is."""

import argparse
import importlib
import re

import pytest
import yaml

from pipeline import __version__
from pipeline.cli.main import COMMANDS
from pipeline.config.settings import Settings, env_name
from tests.deploy.manifests import (
    DEPLOY,
    ROOT,
    containers,
    kustomize,
    named,
    needs_kubectl,
    of_kind,
    overlay,
    pod_spec,
    workloads,
)
from tests.deploy.readme import README, commands

MIGRATION = (DEPLOY / "migration" / "fluent-bit.md").read_text()


def lines_of(*words: str) -> list[list[str]]:
    return [line for line in commands() if line[: len(words)] == list(words)]


def test_every_code_block_is_tested() -> None:
    known = {"kubectl", "docker", "crisp", "terraform", "ansible-playbook", "aws"}

    assert {line[0] for line in commands()} == known


@needs_kubectl
@pytest.mark.parametrize("line", lines_of("kubectl", "kustomize"), ids=" ".join)
def test_kustomizations_named_build(line: list[str]) -> None:
    assert kustomize(ROOT / line[2])


def test_applied_paths_exist() -> None:
    for line in commands():
        for option in ("-k", "-f"):
            if option in line and line[0] in {"kubectl", "docker"}:
                assert (ROOT / line[line.index(option) + 1]).exists(), line
    for line in lines_of("ansible-playbook"):
        assert (ROOT / line[3]).exists()
    for line in lines_of("terraform"):
        assert (ROOT / line[1].removeprefix("-chdir=")).is_dir()


@needs_kubectl
def test_objects_and_secrets_named_exist() -> None:
    objects = overlay("bring-your-own")
    have = {f"{entry['kind'].lower()}/{entry['metadata']['name']}" for entry in objects}
    named = {word.replace("deploy/c", "deployment/c") for line in lines_of("kubectl") for word in line}
    named = {word for word in named if re.fullmatch(r"(daemonset|deployment|job|clusterrole(binding)?)/\S+", word)}
    text = yaml.safe_dump_all(objects)

    assert len(named) >= 5
    assert named <= have
    for line in lines_of("kubectl", "-n", "logging", "create", "secret", "generic"):
        assert f"name: {line[6]}\n" in text
        assert {word.split("=")[1] for word in line[7:]} == {"ES_USER", "ES_PASSWORD"}


def test_every_crisp_command_is_valid() -> None:
    lines = [line[1:] for line in lines_of("crisp")]
    lines += [line[line.index("--") + 2 :] for line in lines_of("kubectl") if "--" in line]
    lines += [line[4:] for line in lines_of("docker", "run", "--rm")]

    assert len(lines) >= 3
    for name, *arguments in lines:
        parser = argparse.ArgumentParser(exit_on_error=False)
        importlib.import_module(COMMANDS[name][0]).add_arguments(parser)
        parser.parse_args(arguments)


def test_image_is_built_before_it_is_run() -> None:
    built = {line[line.index("-t") + 1] for line in lines_of("docker", "build")}

    assert {line[3] for line in lines_of("docker", "run", "--rm")} <= built
    assert {line[2] for line in lines_of("docker", "push")} == built


@needs_kubectl
def test_built_images_are_those_of_the_manifests() -> None:
    built = {line[line.index("-t") + 1] for line in lines_of("docker", "build")}
    versions = {word.partition("=")[2] for line in lines_of("docker", "build") for word in line if "VERSION=" in word}

    assert built == {one["image"] for entry in workloads(overlay("bring-your-own")) for one in containers(entry)}
    assert versions == {__version__}


@needs_kubectl
def test_parameters_agree_with_external_secrets() -> None:
    wanted = {entry["spec"]["data"][0]["remoteRef"]["key"] for entry in of_kind(overlay("dev"), "ExternalSecret")}

    assert {line[line.index("--name") + 1] for line in lines_of("aws", "ssm", "put-parameter")} == wanted


def test_stages_profiles_and_services_exist() -> None:
    dockerfile = (DEPLOY / "images" / "Dockerfile").read_text()
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for line in lines_of("docker", "build"):
        assert f" AS {line[line.index('--target') + 1]}\n" in dockerfile
    for line in lines_of("docker", "compose"):
        if "--scale" in line:
            assert line[line.index("--scale") + 1].partition("=")[0] in compose
        if "--profile" in line:
            assert line[line.index("--profile") + 1] in {
                profile for one in compose.values() for profile in one.get("profiles", ())
            }


@pytest.mark.parametrize("text", [README, MIGRATION], ids=["README", "migration"])
def test_every_setting_named_exists(text: str) -> None:
    known = {env_name(name) for name in Settings.__dataclass_fields__}
    named = set(re.findall(r"\b(CRISP_[A-Z_]+[A-Z])\b", text))

    assert named
    assert named <= known


def test_every_fluent_bit_filter_has_a_replacement() -> None:
    rows = [line for line in MIGRATION.splitlines() if line.startswith("|")]
    table = "\n".join(rows)
    for part in (
        "tail",
        "Parser cri",
        "kubernetes",
        "Merge_Log",
        "grep",
        "modify",
        "nest",
        "lua",
        "es",
        "Replace_Dots Off",
        "Buffer_Size",
    ):
        assert part in table


def test_every_previous_component_has_a_replacement() -> None:
    section = MIGRATION.partition("## The first phase, part by part")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| ")]
    there = " ".join(row[0] for row in rows)
    places = {place for _, _, where in rows[1:] for place in re.findall(r"`(deploy/[^`]+)`", where)}

    for part in ("Terraform", "Ansible", "ECK", "Elasticsearch", "Kibana", "Fluent Bit", "ExternalSecret", "Network"):
        assert part in there
    assert all(len(row) == 3 and "`deploy/" in row[2] for row in rows[1:])
    assert [place for place in sorted(places) if not (ROOT / place).exists()] == []


@needs_kubectl
def test_sizes_agree_with_the_manifests() -> None:
    objects = overlay("bring-your-own")
    for kind, part in (("DaemonSet", "shipper"), ("Deployment", "worker")):
        resources = pod_spec(named(objects, kind, f"crisp-{part}"))["containers"][0]["resources"]
        requests, limit = resources["requests"], resources["limits"]["memory"]
        asks = f"{requests['cpu']}, {requests['memory'][:-2]} MiB (limit {limit[:-2]})"
        used = [int(found) for found in re.findall(rf"^\| {part}, .*? (\d+) MiB \|", README, re.MULTILINE)]

        assert re.search(rf"^\| {part}, .*\| {re.escape(asks)} \|$", README, re.MULTILINE)
        assert len(used) >= 2
        assert max(used) < int(requests["memory"][:-2])


def test_fluent_bit_configuration_agrees_with_the_manifests() -> None:
    conf = (DEPLOY / "migration" / "fluent-bit-kafka.conf").read_text()
    told = dict(re.findall(r"^    (\S+)\s+(\S+)$", conf, re.MULTILINE))
    kafka = yaml.safe_dump_all(overlay("dev"))

    assert told["Topics"] == Settings().topic_raw
    assert f"CRISP_KAFKA_BROKERS: {told['Brokers']}\n" in kafka
    assert f"max.message.bytes: {told['rdkafka.message.max.bytes']}\n" in kafka
    assert (told["rdkafka.acks"], told["Retry_Limit"]) == ("all", "False")


def test_links_resolve() -> None:
    for text, home in ((README, DEPLOY), (MIGRATION, DEPLOY / "migration")):
        for target in re.findall(r"\]\(([\w./-]+)\)", text):
            assert (home / target).exists(), target
