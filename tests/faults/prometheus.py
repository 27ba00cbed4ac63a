"""Scrapes `/metrics` every second, and evaluates alert expressions on the samples with Prometheus's promtool.

promtool evaluates without a server: the samples are the input series of a rules test, with the times of the scrapes.
"""

import re
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy import promtool
from tests.support.http import get

RULES = Path(__file__).parent.parent.parent / "deploy" / "components" / "monitoring" / "alerts.yaml"
SCRAPE_SECONDS = 1.0
RATE_WINDOW = 15
_COUNTER = re.compile(r"_(total|bucket|count|sum)(\{|$)")

FakeGauge = Callable[[], float]
"""The value of a kube-state-metrics gauge for the processes of a test."""


def alert_expression(alert: str) -> str:
    """Return the deployed expression of an alert."""
    groups = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    (expr,) = [rule["expr"] for group in groups for rule in group["rules"] if rule["alert"] == alert]
    return str(expr)


class Prometheus:
    """Series of the processes on these ports, by pod name; stale while a port does not answer."""

    def __init__(self, ports: Mapping[str, int], fake_gauges: Mapping[str, FakeGauge] | None = None) -> None:
        self.ports = dict(ports)
        self._fake_gauges = fake_gauges or {}
        self._started_at = time.monotonic()
        self._series: dict[str, dict[int, float | None]] = defaultdict(dict)
        self._last = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop scraping."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(SCRAPE_SECONDS):
            tick = round((time.monotonic() - self._started_at) / SCRAPE_SECONDS)
            samples = {name: get_value() for name, get_value in self._fake_gauges.items()}
            for pod, port in dict(self.ports).items():
                samples |= _scrape(pod, port)
            with self._lock:
                for name in self._series.keys() - samples.keys():
                    self._series[name][tick] = None
                for name, value in samples.items():
                    self._series[name][tick] = value
                self._last = tick

    def is_firing(self, alert: str, later: int = 0) -> bool:
        """Return whether the alert's expression is true at the last scrape.

        `later`: at that many seconds after it, with constant gauges and counters growing at their latest rate; for
        expressions with a longer time range than a test has.
        """
        expr = alert_expression(alert)
        names = set(re.findall(r"[a-z]\w*_\w+", expr))
        with self._lock:
            last = self._last
            series = [
                {"series": name, "values": _values(name, values, last, later)}
                for name, values in sorted(self._series.items())
                if name.partition("{")[0] in names
            ]
        return _evaluate(expr, series, last + later)


def _scrape(pod: str, port: int) -> dict[str, float]:
    status, page = get(port, "/metrics")
    if status != 200:
        return {}
    samples = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted({**sample.labels, "pod": pod}.items()))
            samples[f"{sample.name}{{{labels}}}"] = sample.value
    return samples


def _values(name: str, values: Mapping[int, float | None], last: int, later: int) -> str:
    """Return a series in promtool's notation, one sample per second."""
    notation, had_value = [], False
    for tick in range(last + 1):
        value = values.get(tick) if tick in values else None
        notation.append(f"{value:g}" if value is not None else "stale" if had_value and tick in values else "_")
        had_value = value is not None or (had_value and tick not in values)
    end = values.get(last)
    if later and end is not None:
        begin = values.get(last - RATE_WINDOW)
        step = max(0.0, end - begin) / RATE_WINDOW if begin is not None and _COUNTER.search(name) else 0.0
        notation.append(f"{end + step}+{step}x{later - 1}")
    return " ".join(notation)


def _evaluate(expr: str, series: list[dict[str, str]], moment: int) -> bool:
    """Return the value of the expression: the expectation, 0 or 1, with which promtool passes."""
    for value in (0, 1):
        case = {
            "interval": "1s",
            "input_series": series,
            "promql_expr_test": [
                {
                    "expr": f"(count({expr}) > bool 0) or vector(0)",
                    "eval_time": f"{moment}s",
                    "exp_samples": [{"labels": "{}", "value": value}],
                }
            ],
        }
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "case.yaml").write_text(yaml.safe_dump({"evaluation_interval": "1s", "tests": [case]}))
            passed, output = promtool.tried(Path(directory), "test", "rules", "case.yaml")
        if passed:
            return bool(value)
    raise AssertionError(f"promtool cannot evaluate {expr}:\n{output}")
