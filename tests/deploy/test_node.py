"""The logging node as Terraform and Ansible make it, and as the manifests look for it."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import ansible
from tests.deploy.manifests import DEPLOY, named, needs_kubectl, of_kind, overlay

TERRAFORM = DEPLOY / "terraform"
PLAYBOOK = DEPLOY / "ansible" / "logging-node.yml"
HCL = "\n".join(path.read_text() for path in sorted(TERRAFORM.glob("*.tf")))
needs_terraform = pytest.mark.skipif(shutil.which("terraform") is None, reason="no terraform on this machine")


def terraform(*arguments: str, given: str = "", directory: Path = TERRAFORM) -> str:
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    command = ["terraform", f"-chdir={directory}", *arguments]
    ended = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def ansible_program(name: str) -> str:
    if not (ansible.directory() / ".made").exists():
        pytest.skip("no Ansible: `make k8s-binaries` installs it")
    return str(ansible.program(name))


def run_ansible(*command: str) -> None:
    environment = {**os.environ, "PATH": f"{ansible.directory()}/bin:{os.environ['PATH']}", "NO_COLOR": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@needs_terraform
def test_terraform_is_formatted_and_parses() -> None:
    terraform("fmt", "-check", "-diff", "-recursive")


@needs_terraform
def test_terraform_is_valid() -> None:
    if not (TERRAFORM / ".terraform").exists():
        pytest.skip("the AWS provider is not here: `terraform init` fetches it")
    terraform("validate")


def test_terraform_references_are_declared() -> None:
    """What `validate` would say of names, without the provider."""
    declared = {f"{kind}.{name}" for kind, name in re.findall(r'^resource "(\w+)" "(\w+)"', HCL, re.MULTILINE)}
    declared |= {f"data.{kind}.{name}" for kind, name in re.findall(r'^data "(\w+)" "(\w+)"', HCL, re.MULTILINE)}
    declared |= {f"var.{name}" for name in re.findall(r'^variable "(\w+)"', HCL, re.MULTILINE)}
    locals_ = "\n".join(re.findall(r"^locals \{\n(.*?)^\}", HCL, re.MULTILINE | re.DOTALL))
    declared |= {f"local.{name}" for name in re.findall(r"^  (\w+) +=", locals_, re.MULTILINE)}
    referred = set(re.findall(r"\b(?:data\.aws_\w+\.\w+|(?<!data\.)aws_\w+\.\w+|var\.\w+|local\.\w+)\b", HCL))

    assert len(referred) >= 20
    assert referred - declared == set()


@needs_terraform
def test_node_joins_with_the_labels_and_taints_of_the_manifests(tmp_path: Path) -> None:
    shutil.copy(TERRAFORM / "join.sh.tftpl", tmp_path)
    given = re.search(r"templatefile\(\"\$\{path\.module\}/join\.sh\.tftpl\", (\{.*?\n  \})\)", HCL, re.DOTALL)
    assert given is not None
    values = given[1].replace("${var.environment}", "dev").replace("data.aws_region.this.name", '"region"')
    script = terraform("console", given=f'templatefile("join.sh.tftpl", {_one_line(values)})\n', directory=tmp_path)
    script = "\n".join(script.splitlines()[1:-1])
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    told = re.search(r"--node-labels=(\S+) --register-with-taints=([^\s']+)", script)

    assert told is not None
    _agree(dict([told[1].split("=")]), _taint(told[2]))
    assert "--name '/crisp/dev/node/join-command'" in script


def _one_line(hcl: str) -> str:
    return "{" + ", ".join(line.strip() for line in hcl.splitlines()[1:-1]) + "}"


def _taint(text: str) -> dict[str, str]:
    key, value, effect = re.split("[=:]", text)
    return {"key": key, "value": value, "effect": effect}


@needs_kubectl
def test_ansible_sets_the_labels_and_taints_of_the_manifests() -> None:
    given = yaml.safe_load(PLAYBOOK.read_text())[0]["vars"]
    (taint,) = given["logging_node_taints"]

    _agree(given["logging_node_labels"], taint)


def _agree(labels: dict[str, str], taint: dict[str, str]) -> None:
    spec: Any = named(overlay("dev"), "Elasticsearch", "logs")["spec"]["nodeSets"][0]["podTemplate"]["spec"]
    assert spec["nodeSelector"] == labels
    assert spec["tolerations"] == [{**taint, "operator": "Equal"}]


@needs_kubectl
@pytest.mark.parametrize("name", ["dev", "prod"])
def test_external_secrets_reads_only_what_its_role_allows(name: str) -> None:
    objects = overlay(name)
    account = named(objects, "SecretStore", "crisp-ssm")["spec"]["provider"]["aws"]["auth"]["jwt"]["serviceAccountRef"]

    assert f'"system:serviceaccount:logging:{account["name"]}"' in HCL
    assert '"${local.parameters}/elasticsearch/*"' in HCL
    for entry in of_kind(objects, "ExternalSecret"):
        (row,) = entry["spec"]["data"]
        assert re.fullmatch(rf"/crisp/{name}/elasticsearch/[a-z-]+", row["remoteRef"]["key"])


def test_logging_node_is_dedicated() -> None:
    for line in (
        r'http_tokens +\s*= "required"',
        r"http_put_response_hop_limit += 1",
        r'volume_type += "gp3"',
        r"encrypted +\s*= true",
        r"associate_public_ip_address += false",
        r'default +\s*= "t3.large"',
    ):
        assert re.search(line, HCL), line
    assert '"*"' not in HCL


def test_playbook_passes_the_syntax_check() -> None:
    run_ansible(ansible_program("ansible-playbook"), "--syntax-check", "-i", "control_plane,", str(PLAYBOOK))


@pytest.mark.k8s
def test_playbook_passes_the_linter() -> None:
    run_ansible(str(ansible.program("ansible-lint")), "--offline", "--strict", "--profile", "production", str(PLAYBOOK))
