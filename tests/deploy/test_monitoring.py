"""Alerts, dashboard and runbooks: true to the metrics table, to each other, and to what Prometheus makes of them."""

import ast
import inspect
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.monitoring import runbook, shipper_problems, worker_problems
from pipeline.monitoring.metric_table import SHIPPER, WORKER
from pipeline.operations.inspect import overview
from tests.deploy import dashboard, promtool
from tests.deploy.manifests import kustomize, needs_kubectl, overlay, workloads
from tests.deploy.network_checks import PODS
from tests.faults.runbook import commands

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
MONITORING = DEPLOY / "components" / "monitoring"
TABLE = {row.name: row for row in (*WORKER, *SHIPPER)}
CASES = Path(__file__).with_name("alerts_test.yaml")
needs_promtool = pytest.mark.skipif(
    not promtool.path().is_file(), reason="no promtool to test the alerts with: `make promtool` builds it"
)


def spec() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["spec"]
    return found


RULES: list[dict[str, Any]] = [rule for group in spec()["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_has_duration_severity_and_runbook(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"Crisp[A-Z]\w+", rule["alert"])
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert len(rule["annotations"]["summary"]) > 40
    _, _, name = rule["annotations"]["runbook"].rpartition(" ")
    assert rule["annotations"]["runbook"] == f"crisp runbook {name}"
    assert name in runbook.names()
    assert rule["annotations"]["runbook_url"] == f"https://git.example.invalid/crisp/pipeline/runbooks/{name}.md"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_metrics_in_alerts_exist(rule: dict[str, Any]) -> None:
    named = dashboard.names(rule["expr"])

    assert named <= TABLE.keys()
    for name in re.findall(r"crisp_\w+", rule["expr"]):
        base = next(iter(dashboard.names(name)))
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
        assert name in {base + suffix for suffix in suffixes[TABLE[base].kind]}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_label_values_in_alerts_exist_in_the_code(rule: dict[str, Any]) -> None:
    for name, label, value in re.findall(r'(crisp_\w+)\{(\w+)="(\w+)"', rule["expr"]):
        row = TABLE[next(iter(dashboard.names(name)))]
        assert label in row.labels
        assert value in row.values


def test_prometheus_operator_selects_every_object() -> None:
    """By the label that kube-prometheus-stack selects by, as long as nobody tells it otherwise."""
    files = [MONITORING / "alerts.yaml", MONITORING / "podmonitor.yaml"]
    objects = [entry for file in files for entry in yaml.safe_load_all(file.read_text())]

    assert [entry["kind"] for entry in objects].count("PodMonitor") == 2
    assert all(entry["metadata"]["labels"] == {"release": "kube-prometheus-stack"} for entry in objects)


def test_every_metric_is_on_the_dashboard() -> None:
    queries = [target["expr"] for panel in dashboard.dashboard()["panels"] for target in panel.get("targets", ())]

    assert dashboard.names(" ".join(queries)) == TABLE.keys()


def test_dashboard_uses_the_selected_data_source() -> None:
    made = dashboard.dashboard()
    panels = [panel for panel in made["panels"] if panel["type"] != "row"]

    assert (made["id"], made["uid"]) == (None, "crisp-flow")
    assert {str(panel["datasource"]["uid"]) for panel in panels} == {"${datasource}"}
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
    for panel in made["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_first_row_of_the_dashboard_has_rate_errors_and_duration_of_each_hop() -> None:
    titles = [panel.title for panel in dashboard.ROWS[0][1]]
    hops = list(dict.fromkeys(title.partition(":")[0] for title in titles))

    assert hops == ["Files → Kafka", "Kafka → worker", "Worker", "Worker → Elasticsearch"]
    for hop in hops:
        kinds = [title.partition(": ")[2].partition(",")[0] for title in titles if title.partition(":")[0] == hop]
        assert kinds == ["rate", "errors", "duration"]


def test_every_query_and_every_alert_is_by_cluster_and_namespace() -> None:
    selectors = '{cluster=~"$cluster",namespace=~"$namespace"'
    queries = [target["expr"] for panel in dashboard.dashboard()["panels"] for target in panel.get("targets", ())]
    for query in queries:
        assert query.count(selectors) == len(re.findall(r"(?:crisp|process)_\w+", query)), query
    for rule in RULES:
        aggregations = re.findall(r"\b(?:sum|max|min|count)\b(.*?)\(", rule["expr"])
        assert aggregations
        assert all(by.startswith(" by ") for by in aggregations), rule["alert"]
        assert len(aggregations) == len(re.findall(r"by \(cluster, namespace", rule["expr"])), rule["alert"]


@needs_promtool
def test_every_query_of_the_dashboard_passes_promtool(tmp_path: Path) -> None:
    queries = [target["expr"] for panel in dashboard.dashboard()["panels"] for target in panel.get("targets", ())]
    rules = [
        {"record": f"query:number_{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries)
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    assert f"{len(queries)} rules found" in promtool.run(tmp_path, "check", "rules", "rules.yaml")


def test_dashboard_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard.dashboard()["panels"]:
        x, y, width, height = (panel["gridPos"][key] for key in "xywh")
        cells = {(x + column, y + line) for column in range(width) for line in range(height)}
        assert not cells & taken
        taken |= cells


def _told() -> set[str]:
    """The runbooks that pages and `crisp status` name."""
    found = set()
    for module in (worker_problems, shipper_problems, overview):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"critical", "warning", "SourcedProblem"}:
                found |= {word.value for word in node.args[1:3] if isinstance(word, ast.Constant)} & {*runbook.names()}
    return {str(name) for name in found}


def test_every_runbook_is_referenced_and_every_reference_resolves() -> None:
    alerted = {rule["annotations"]["runbook"].rpartition(" ")[2] for rule in RULES}

    assert len(_told()) >= 10
    assert set(runbook.names()) == alerted | _told()


@pytest.mark.parametrize("name", runbook.names())
def test_links_and_alerts_in_runbooks_exist(name: str) -> None:
    page = runbook.text(name)
    alerts = {rule["alert"] for rule in RULES if rule["annotations"]["runbook"] == f"crisp runbook {name}"}

    assert set(re.findall(r"\[[^]]+\]\(([^)]+)\)", page)) <= {f"{other}.md" for other in runbook.names()}
    assert set(re.findall(r"`(Crisp\w+)`", page)) == alerts


@needs_kubectl
def test_overlay_sets_the_address_of_runbooks(tmp_path: Path) -> None:
    there = "https://git.example.invalid/team/logs/-/blob/main"
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    kustomization = tmp_path / "deploy" / "overlays" / "prod" / "kustomization.yaml"
    kustomization.write_text(kustomization.read_text().replace("url=https://git.example.invalid/crisp", f"url={there}"))
    (rule,) = [entry for entry in kustomize(kustomization.parent) if entry["kind"] == "PrometheusRule"]

    for one in rule["spec"]["groups"][0]["rules"]:
        name = one["annotations"]["runbook"].rpartition(" ")[2]
        assert one["annotations"]["runbook_url"] == f"{there}/pipeline/runbooks/{name}.md"


@needs_kubectl
def test_kubectl_commands_in_runbooks_name_existing_objects() -> None:
    objects = overlay("dev")
    lines = [shlex.split(line) for name in runbook.names() for line in commands(name) if line.startswith("kubectl ")]
    labels = [end.labels for end in PODS.values()]
    labels += [entry["spec"]["template"]["metadata"]["labels"] for entry in workloads(objects)]
    asked = [line[line.index("-l") + 1].partition("=") for line in lines if "-l" in line]

    assert len(lines) >= 7
    for line in lines:
        assert line[1:3] == ["-n", "logging"]
        if line[3] == "scale":
            assert line[5] in {entry["metadata"]["name"] for entry in objects if entry["kind"].lower() == line[4]}
    for key, _, value in asked:
        assert any(one.get(key) == value for one in labels), f"{key}={value}"


def test_every_command_of_a_runbook_is_run_by_its_trial() -> None:
    """What kubectl does to pods, a trial does to processes."""
    tree = ast.parse((Path(__file__).parent.parent / "faults" / "test_runbooks.py").read_text())
    tried: dict[str, set[str]] = {}
    for case in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
        calls = [node for node in ast.walk(case) if isinstance(node, ast.Call)]
        words = {
            getattr(call.func, "attr", getattr(call.func, "id", "")): [ast.literal_eval(arg) for arg in call.args]
            for call in calls
            if getattr(call.func, "id", "") == "make"
        }
        if "make" not in words:
            continue
        alert, page = words["make"]
        assert page in {rule["annotations"]["runbook"].split()[-1] for rule in RULES if rule["alert"] == alert}
        done = [call for call in calls if ast.unparse(call.func) in {"trial.book.run", "trial.book.request"}]
        tried.setdefault(page, set()).update(ast.literal_eval(call.args[0]) for call in done)
        tried.setdefault("alerts", set()).add(alert)

    assert tried.pop("alerts") == {rule["alert"] for rule in RULES}
    for page, run in tried.items():
        assert run == {command for command in commands(page) if not command.startswith("kubectl ")}, page


@needs_promtool
def test_rules_pass_promtool(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec()))

    assert f"{len(RULES)} rules found" in promtool.run(tmp_path, "check", "rules", "rules.yaml")


@needs_promtool
def test_every_alert_fires_stays_silent_and_resolves(tmp_path: Path) -> None:
    bare = spec()
    for group in bare["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]  # words, which the cases need not repeat
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(bare))
    (tmp_path / "cases.yaml").write_text(CASES.read_text())

    assert "SUCCESS" in promtool.run(tmp_path, "test", "rules", "cases.yaml")


def test_every_alert_has_cases_before_during_and_after() -> None:
    seen: dict[str, list[bool]] = {}
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for check in case["alert_rule_test"]:
            seen.setdefault(check["alertname"], []).append(bool(check.get("exp_alerts")))
    for rule in RULES:
        words = "".join("F" if fires else "." for fires in seen[rule["alert"]])
        assert re.search(r"\.+F+\.", words), f"{rule['alert']}: {words}"
