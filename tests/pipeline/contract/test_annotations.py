"""Options from annotations: ours, and those of other shippers with the meaning that these give them."""

from typing import Any

import orjson
import pytest

from pipeline.config.environment import load_settings
from pipeline.config.exclusion import EXCLUDED_BY_ANNOTATION, NAMESPACE_EXCLUDED, POD_EXCLUDED, Exclusion
from pipeline.config.settings import Settings
from pipeline.contract import pod_metadata
from pipeline.contract.annotations import PARSERS, STREAMS, PodOptions, is_relevant, pod_options
from pipeline.contract.pod_metadata import Instance
from pipeline.errors import SettingsError
from pipeline.parsing.text import text_formats

APP = Instance("shop", "pay-1", "u-1", "app", 0)
BOTH, OUT, ERR = frozenset(STREAMS), frozenset({"stdout"}), frozenset({"stderr"})
NONE: frozenset[str] = frozenset()


def options_of(annotations: dict[str, Any], labels: dict[str, str] | None = None) -> PodOptions:
    """The options of the container `app` of a pod with these annotations and labels."""
    return pod_options({"metadata": {"annotations": annotations, "labels": labels or {}}}, "app", "logs.crisp")


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
def test_annotations_exclude_streams(
    annotations: dict[str, str], labels: dict[str, str], streams: frozenset[str]
) -> None:
    assert options_of(annotations, labels).excluded_streams == streams


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
def test_annotations_set_the_parser_of_each_stream(annotations: dict[str, str], parsers: dict[str, str]) -> None:
    options = options_of(annotations)

    assert (options.parsers, options.invalid) == (parsers, ())


@pytest.mark.parametrize(
    ("annotations", "problem"),
    [
        ({"logs.crisp/parser": "jsn"}, "logs.crisp/parser: no parser 'jsn'"),
        ({"fluentbit.io/parser": "my-regex"}, "fluentbit.io/parser: no parser is equivalent to 'my-regex'"),
        ({"logs.crisp/exclude": "maybe"}, "logs.crisp/exclude: 'maybe' is neither true nor false"),
        ({"logs.crisp/exlude": "true"}, "logs.crisp/exlude: no such annotation"),
        ({"logs.crisp/exclude_stdin": "true"}, "logs.crisp/exclude_stdin: no such annotation"),
    ],
)
def test_invalid_annotation_is_reported_and_changes_nothing(annotations: dict[str, str], problem: str) -> None:
    assert options_of(annotations) == PodOptions(invalid=(problem,))


def test_grouping_of_the_container_precedes_that_of_the_pod() -> None:
    assert options_of({"logs.crisp/multiline": "off"}).multiline == "off"
    assert options_of({"logs.crisp/multiline": "off", "logs.crisp/multiline-app": " ^x "}).multiline == "^x"
    assert options_of({"logs.crisp/multiline-other": "off"}).multiline == ""


def test_annotations_of_other_programs_are_irrelevant() -> None:
    names = ("kubectl.kubernetes.io/last-applied-configuration", "logs.crisp.example/exclude", "prometheus.io/scrape")

    assert not any(is_relevant(name, "logs.crisp") for name in names)
    assert options_of(dict.fromkeys(names, "true")) == PodOptions()


def test_every_parser_has_a_reader() -> None:
    assert text_formats.PARSERS.keys() == PARSERS
    assert all(load_settings({"CRISP_PARSER": name}).parser == name for name in PARSERS)


def test_options_are_part_of_the_pod_metadata() -> None:
    def encoded_options(annotations: dict[str, str]) -> dict[str, Any]:
        pod = {"metadata": {"annotations": annotations}}
        options = pod_options(pod, "app", "logs.crisp")
        metadata: dict[str, Any] = orjson.loads(pod_metadata.from_api(APP, "n", pod, frozenset(), options))
        return {name: metadata[name] for name in metadata if name.startswith(("parser", "excluded"))}

    assert encoded_options({}) == {}
    assert encoded_options({"logs.crisp/parser": "json", "logs.crisp/exclude_stderr": "true"}) == {
        "parser": "json",
        "excluded": ["stderr"],
    }
    assert encoded_options({"logs.crisp/parser_stderr": "klog"}) == {"parser_stderr": "klog"}


def test_settings_exclude_regardless_of_annotations() -> None:
    by_namespace = Exclusion(Settings(exclude_namespaces=("kube-system", "shop"), pods_may_exclude=False))
    by_name = Exclusion(Settings(exclude_pods=("*/debug-*", "shop/pay-?")))

    assert by_namespace.reason(APP, options_of({"logs.crisp/exclude": "false"})) == NAMESPACE_EXCLUDED
    assert by_name.reason(APP, PodOptions()) == POD_EXCLUDED
    assert by_name.reason(APP._replace(pod="debug-x"), PodOptions()) == POD_EXCLUDED
    assert by_name.reason(APP._replace(namespace="bank"), PodOptions()) == ""


def test_pod_may_exclude_itself_unless_a_setting_forbids_it() -> None:
    options = options_of({"logs.crisp/exclude": "true", "logs.crisp/parser": "json"})

    assert Exclusion(Settings()).reason(APP, options) == EXCLUDED_BY_ANNOTATION
    assert Exclusion(Settings()).reason(APP, options._replace(excluded_streams=ERR)) == ""
    assert Exclusion(Settings(pods_may_exclude=False)).reason(APP, options) == ""
    assert Exclusion(Settings(pods_may_exclude=False)).restrict(options).parsers == {"stdout": "json", "stderr": "json"}


def test_excluded_pod_without_namespace_is_invalid() -> None:
    with pytest.raises(SettingsError, match=r"CRISP_EXCLUDE_PODS: 'debug-\*': each is namespace/name"):
        load_settings({"CRISP_EXCLUDE_PODS": "debug-*"})


@pytest.mark.parametrize("name", ["logs.crisp/multiline", "fluentbit.io/parser", "vector.dev/exclude-containers"])
def test_option_larger_than_its_limit_is_invalid(name: str) -> None:
    for value in ("x" * 4097, "€" * 1366):
        options = options_of({name: value})
        assert options == PodOptions(invalid=(f"{name}: {len(value.encode())} bytes, at most 4096",))
    assert options_of({"other.example/text": "x" * 10**5}) == PodOptions()
