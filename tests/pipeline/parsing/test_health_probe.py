"""A health probe is a request to exactly one of the paths with a 2xx response, and nothing else is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.parsing import health_probe

PATHS = frozenset({"/ready", "/healthz"})
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["GET", "/ready", "200", "2xx"])
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def request(path: Any = "/ready", method: Any = "GET", status: Any = 200) -> dict[str, Any]:
    """The fields of a request."""
    return {"url.path": path, "http.request.method": method, "http.response.status_code": status}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(request(), id="get"),
        pytest.param(request(method="HEAD", status="204"), id="head_and_status_as_text"),
        pytest.param(request(status=302) | {"user_agent.original": "kube-probe/1.31"}, id="success_for_the_kubelet"),
        pytest.param(request("/healthz", status=299) | {"message": "x"}, id="other_fields_do_not_matter"),
    ],
)
def test_successful_request_to_a_path_is_a_probe(fields: dict[str, Any]) -> None:
    assert health_probe.is_probe(fields, PATHS)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(request(status=503), id="failing_probe_is_kept"),
        pytest.param(request(status=503) | {"user_agent.original": "kube-probe/1.31"}, id="kubelets_failing_probe"),
        pytest.param(request("/x") | {"user_agent.original": "kube-probe/1.31"}, id="agent_alone"),
        pytest.param(request(status=302) | {"user_agent.original": "not kube-probe/1"}, id="agent_that_contains_it"),
        pytest.param(request(status=199), id="informational"),
        pytest.param(request(status=300), id="redirect"),
        pytest.param(request(status=2000), id="no_status"),
        pytest.param(request(status="2xx"), id="status_is_no_number"),
        pytest.param(request(status="20²"), id="digit_of_another_kind"),
        pytest.param(request(status=200.5), id="status_is_a_fraction"),
        pytest.param(request(status=[200]), id="status_is_a_list"),
        pytest.param(request(status=None), id="no_response"),
        pytest.param(request(method="POST"), id="post"),
        pytest.param(request(method=["GET"]), id="method_is_a_list"),
        pytest.param(request(method={"GET": 1}), id="method_is_an_object"),
        pytest.param(request("/ready/"), id="longer_path"),
        pytest.param(request("/already"), id="path_that_contains_it"),
        pytest.param(request("/READY"), id="other_case"),
        pytest.param(request(["/ready"]), id="path_is_a_list"),
        pytest.param({"message": "Database ready", "http.response.status_code": 200}, id="path_in_message_only"),
        pytest.param({}, id="nothing"),
    ],
)
def test_other_fields_are_not_a_probe(fields: dict[str, Any]) -> None:
    assert not health_probe.is_probe(fields, PATHS)


@given(ANYTHING, ANYTHING, ANYTHING)
def test_values_of_any_type_are_accepted(path: Any, method: Any, status: Any) -> None:
    is_probe = health_probe.is_probe(request(path, method, status), PATHS)

    assert not is_probe or (path in PATHS and method in {"GET", "HEAD"} and str(status)[0] == "2")
