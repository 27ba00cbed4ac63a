"""What annotations ask for: ours, and those of other shippers as these read them."""

from typing import Any

import orjson
import pytest

from pipeline.config.exclusion import EXCLUDED_BY_ANNOTATION, NAMESPACE_EXCLUDED, POD_EXCLUDED, Exclusion
from pipeline.config.settings import Settings, load
from pipeline.contract import annotations as annotation
from pipeline.contract import pod_metadata
from pipeline.contract.annotations import PARSERS, PodOptions
from pipeline.contract.pod_metadata import Instance
from pipeline.errors import SettingsError
from pipeline.parsing import text_formats

APP = Instance("shop", "pay-1", "u-1", "app", 0)
BOTH, OUT, ERR = frozenset(annotation.STREAMS), frozenset({"stdout"}), frozenset({"stderr"})
NONE: frozenset[str] = frozenset()


def wish(annotations: dict[str, Any], labels: dict[str, str] | None = None) -> PodOptions:
    return annotation.pod_options(
        {"metadata": {"annotations": annotations, "labels": labels or {}}}, "app", "logs.crisp"
    )


@pytest.mark.parametrize(
    ("annotations", "labels", "streams"),
    [
        ({}, {}, NONE),
        ({"logs.crisp/exclude": "true"}, {}, BOTH),
        ({"logs.crisp/exclude": "false"}, {}, NONE),
        ({"logs.crisp/exclude_stderr": "true"}, {}, ERR),
        ({"logs.crisp/exclude-app": "true"}, {}, BOTH),
        ({"logs.crisp/exclude_stdout-app": "true"}, {}, OUT),
        ({"logs.crisp/exclude-sidecar": "true"}, {}, NONE),
        ({"logs.crisp/exclude": "true", "logs.crisp/exclude-app": "false"}, {}, NONE),
        ({"logs.crisp/exclude": "true", "logs.crisp/exclude_stdout": "false"}, {}, ERR),
        ({"logs.crisp/exclude_stdout": "false", "logs.crisp/exclude-app": "true"}, {}, BOTH),
        ({"fluentbit.io/exclude": "true"}, {}, BOTH),
        ({"fluentbit.io/exclude": "On"}, {}, BOTH),
        ({"fluentbit.io/exclude_stdout": "true"}, {}, OUT),
        ({"fluentbit.io/exclude-app": "true"}, {}, BOTH),
        ({"fluentbit.io/exclude_stderr-other": "true"}, {}, NONE),
        ({"co.elastic.logs/enabled": "false"}, {}, BOTH),
        ({"co.elastic.logs/enabled": "true"}, {}, NONE),
        ({"co.elastic.logs/enabled": "no"}, {}, NONE),
        ({"co.elastic.logs.app/enabled": "false"}, {}, BOTH),
        ({"co.elastic.logs.other/enabled": "false"}, {}, NONE),
        ({"co.elastic.logs/enabled": "false", "co.elastic.logs.app/enabled": "true"}, {}, NONE),
        ({"vector.dev/exclude-containers": "sidecar, app"}, {}, BOTH),
        ({"vector.dev/exclude-containers": "application"}, {}, NONE),
        ({}, {"vector.dev/exclude": "true"}, BOTH),
        ({}, {"vector.dev/exclude": "True"}, NONE),
        ({"vector.dev/exclude": "true"}, {}, NONE),
        ({"logs.crisp/exclude": "false", "fluentbit.io/exclude": "true"}, {}, NONE),
        ({"logs.crisp/exclude_stdout": "false", "co.elastic.logs/enabled": "false"}, {}, ERR),
    ],
)
def test_what_is_excluded(annotations: dict[str, str], labels: dict[str, str], streams: frozenset[str]) -> None:
    assert wish(annotations, labels).excluded_streams == streams


@pytest.mark.parametrize(
    ("annotations", "parsers"),
    [
        ({"logs.crisp/parser": "json"}, {"stdout": "json", "stderr": "json"}),
        ({"logs.crisp/parser_stderr": "klog"}, {"stderr": "klog"}),
        ({"logs.crisp/parser": "json", "logs.crisp/parser_stderr-app": "none"}, {"stdout": "json", "stderr": "none"}),
        ({"logs.crisp/parser-other": "json"}, {}),
        ({"fluentbit.io/parser": "json"}, {"stdout": "json", "stderr": "json"}),
        ({"fluentbit.io/parser_stdout-app": "nginx"}, {"stdout": "access"}),
        ({"fluentbit.io/parser": "apache2", "logs.crisp/parser": "auto"}, {"stdout": "auto", "stderr": "auto"}),
    ],
)
def test_which_parser_is_asked_for(annotations: dict[str, str], parsers: dict[str, str]) -> None:
    found = wish(annotations)

    assert (found.parsers, found.invalid) == (parsers, ())


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"logs.crisp/parser": "jsn"}, "logs.crisp/parser: no parser 'jsn'"),
        ({"fluentbit.io/parser": "my-regex"}, "fluentbit.io/parser: no parser here has the meaning of 'my-regex'"),
        ({"logs.crisp/exclude": "maybe"}, "logs.crisp/exclude: 'maybe' is neither true nor false"),
        ({"logs.crisp/exlude": "true"}, "logs.crisp/exlude: no such annotation"),
        ({"logs.crisp/exclude_stdin": "true"}, "logs.crisp/exclude_stdin: no such annotation"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(annotations: dict[str, str], said: str) -> None:
    assert wish(annotations) == PodOptions(invalid=(said,))


def test_the_grouping_of_the_container_comes_before_the_pods() -> None:
    assert wish({"logs.crisp/multiline": "off"}).multiline == "off"
    assert wish({"logs.crisp/multiline": "off", "logs.crisp/multiline-app": " ^x "}).multiline == "^x"
    assert wish({"logs.crisp/multiline-other": "off"}).multiline == ""


def test_annotations_of_others_do_not_concern_us() -> None:
    names = ("kubectl.kubernetes.io/last-applied-configuration", "logs.crisp.example/exclude", "prometheus.io/scrape")

    assert not any(annotation.is_relevant(name, "logs.crisp") for name in names)
    assert wish(dict.fromkeys(names, "true")) == PodOptions()


def test_every_parser_has_a_reader() -> None:
    assert text_formats.PARSERS.keys() == PARSERS
    assert all(load({"CRISP_PARSER": name}).parser == name for name in PARSERS)


def test_a_pods_wishes_travel_with_its_metadata() -> None:
    def about(annotations: dict[str, str]) -> dict[str, Any]:
        found = {"metadata": {"annotations": annotations}}
        asked = annotation.pod_options(found, "app", "logs.crisp")
        told: dict[str, Any] = orjson.loads(pod_metadata.from_api(APP, "n", found, frozenset(), asked))
        return {name: told[name] for name in told if name.startswith(("parser", "excluded"))}

    assert about({}) == {}
    assert about({"logs.crisp/parser": "json", "logs.crisp/exclude_stderr": "true"}) == {
        "parser": "json",
        "excluded": ["stderr"],
    }
    assert about({"logs.crisp/parser_stderr": "klog"}) == {"parser_stderr": "klog"}


def test_the_settings_keep_out_whatever_a_pod_says() -> None:
    kept = Exclusion(Settings(exclude_namespaces="kube-system shop", pods_may_exclude=False))
    pods = Exclusion(Settings(exclude_pods="*/debug-* shop/pay-?"))

    assert kept.reason(APP, wish({"logs.crisp/exclude": "false"})) == NAMESPACE_EXCLUDED
    assert pods.reason(APP, PodOptions()) == POD_EXCLUDED
    assert pods.reason(APP._replace(pod="debug-x"), PodOptions()) == POD_EXCLUDED
    assert pods.reason(APP._replace(namespace="bank"), PodOptions()) == ""


def test_whether_a_pod_may_keep_itself_out_is_a_setting() -> None:
    asked = wish({"logs.crisp/exclude": "true", "logs.crisp/parser": "json"})

    assert Exclusion(Settings()).reason(APP, asked) == EXCLUDED_BY_ANNOTATION
    assert Exclusion(Settings()).reason(APP, asked._replace(excluded_streams=ERR)) == ""
    assert Exclusion(Settings(pods_may_exclude=False)).reason(APP, asked) == ""
    assert Exclusion(Settings(pods_may_exclude=False)).restrict(asked).parsers == {"stdout": "json", "stderr": "json"}


def test_a_pod_in_the_settings_has_a_namespace() -> None:
    with pytest.raises(SettingsError, match=r"CRISP_EXCLUDE_PODS: 'debug-\*': each is namespace/name"):
        load({"CRISP_EXCLUDE_PODS": "debug-*"})
