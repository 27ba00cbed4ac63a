"""`crisp parse` as a process: files, archives, standard input, terminals, and invalid input."""

import gzip
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

LINE = b"2026-11-24T09:42:30.%03dZ stdout F %b\n"
INSTANCE = "shop_pay-1_11111111-2222-3333-4444-555555555555/pay"
CRISP = [sys.executable, "-m", "pipeline.cli", "parse"]


def parse(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*CRISP, *arguments], input=stdin, capture_output=True, env={**os.environ, **environment})


def hits(completed: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    assert completed.returncode == 0, completed.stderr
    return [orjson.loads(line) for line in completed.stdout.splitlines()]


def test_files_of_an_instance_are_read_as_one_log(tmp_path: Path) -> None:
    directory = tmp_path / INSTANCE
    directory.mkdir(parents=True)
    first = LINE % (1, b"java.lang.Error: x")
    second = LINE % (2, b"\tat a.B.c(B.java:1)") + LINE % (3, b"last")
    with gzip.open(directory / "0.log.20261124-094230.gz", "wb") as out:
        out.write(first)
    (directory / "0.log").write_bytes(second)
    (other := tmp_path / "plain.txt").write_bytes(LINE % (4, b"other"))
    documents = hits(parse(str(directory / "0.log"), str(directory / "0.log.20261124-094230.gz"), str(other)))

    assert [hit["_source"]["message"] for hit in documents] == [
        "java.lang.Error: x\n\tat a.B.c(B.java:1)",
        "last",
        "other",
    ]
    assert documents[0]["_source"]["kubernetes.pod.name"] == "pay-1"
    assert documents[0]["_source"]["log.file.path"].endswith(".gz")
    assert documents[1]["_id"].endswith(f"-{second.index(b'2026', 1):010x}")


def test_log_larger_than_a_block_is_grouped_completely(tmp_path: Path) -> None:
    lines = [
        LINE % (number % 1000, b"java.lang.Error: x" if number % 3 == 0 else b"\tat a.B.c(B.java:1)")
        for number in range(30000)
    ]
    (path := tmp_path / "big.txt").write_bytes(b"".join(lines))

    assert len(hits(parse(str(path)))) == 10000


def test_pod_object_supplies_labels_and_container(tmp_path: Path) -> None:
    pod = {
        "metadata": {"name": "pay-1", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c"}]},
    }
    (path := tmp_path / "pod.json").write_bytes(orjson.dumps(pod))
    (document,) = hits(parse("--pod", str(path), stdin=LINE % (1, b"x")))

    assert (document["_source"]["service.name"], document["_source"]["kubernetes.container.name"]) == ("web", "c")
    assert document["_source"]["kubernetes.namespace"] == "shop"


def test_pod_annotations_are_applied_and_unknown_ones_reported(tmp_path: Path) -> None:
    annotations = {"parser": "none", "exclude_stderr": "true", "multilne": "off"}
    metadata = {"name": "pay-1", "annotations": {f"logs.crisp/{name}": value for name, value in annotations.items()}}
    (tmp_path / "pod.json").write_bytes(orjson.dumps({"metadata": metadata}))
    lines = LINE % (1, b"level=warn msg=x") + (LINE % (2, b"out")).replace(b"stdout", b"stderr")
    completed = parse("--pod", str(tmp_path / "pod.json"), stdin=lines)

    (document,) = hits(completed)
    assert "log.level" not in document["_source"]
    assert completed.stderr.decode().splitlines() == [
        "invalid annotation: logs.crisp/multilne: no such annotation",
        "1 events dropped: pod excludes the stream",
    ]


def test_path_option_identifies_the_pod() -> None:
    (document,) = hits(parse("--path", f"/var/log/pods/{INSTANCE}/3.log", stdin=LINE % (1, b"x")))

    assert document["_source"]["kubernetes.pod.uid"] == "11111111-2222-3333-4444-555555555555"


def test_kubelet_symlink_identifies_pod_and_container() -> None:
    name = f"/var/log/containers/pay-1_shop_app-{'c0' * 32}.log"
    (document,) = hits(parse("--path", name, stdin=LINE % (1, b"x")))

    assert (document["_source"]["kubernetes.pod.name"], document["_source"]["container.id"]) == ("pay-1", "c0" * 32)


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        pytest.param(["/nowhere/0.log"], 1, "/nowhere/0.log: No such file or directory", id="no_file"),
        pytest.param(["/"], 1, "/: Is a directory", id="directory"),
        pytest.param(["--path", "x"], 1, "--path x: not a log path of the kubelet", id="path"),
        pytest.param(["--pod", "/nowhere"], 1, "--pod /nowhere: ", id="pod"),
        pytest.param(["--rules", "/nowhere"], 2, "/nowhere: the rules cannot be read", id="rules"),
        pytest.param(["--nothing"], 2, "unrecognized arguments: --nothing", id="option"),
    ],
)
def test_unreadable_input_is_reported_in_one_line(arguments: list[str], code: int, expected: str) -> None:
    completed = parse(*arguments)

    assert (completed.returncode, completed.stdout) == (code, b"")
    assert expected in completed.stderr.decode()
    assert b"Traceback" not in completed.stderr


def test_truncated_archive_is_reported(tmp_path: Path) -> None:
    (path := tmp_path / "0.log.gz").write_bytes(gzip.compress(LINE % (1, b"x") * 1000)[:60])
    completed = parse(str(path))

    assert (completed.returncode, b"Traceback" in completed.stderr) == (1, False)
    assert str(path).encode() in completed.stderr


def test_non_cri_line_is_kept_and_counted() -> None:
    completed = parse(stdin=b"no envelope\n" + LINE % (1, b"x"))

    assert [hit["_source"]["message"] for hit in hits(completed)] == ["no envelope", "x"]
    assert b"1 are not a CRI line (TIME STREAM TAG TEXT)" in completed.stderr
    assert b"none of the lines is a CRI line" in parse(stdin=b"a\nb").stderr


def test_empty_input_succeeds() -> None:
    assert (parse().returncode, parse().stdout) == (0, b"")


def test_closed_output_pipe_is_no_error(tmp_path: Path) -> None:
    (path := tmp_path / "big.txt").write_bytes((LINE % (1, b"x")) * 20000)
    command = f"set -o pipefail; {' '.join(CRISP)} {path} | head -1"
    completed = subprocess.run(["bash", "-c", command], capture_output=True)

    assert (completed.returncode, len(completed.stdout.splitlines()), b"Traceback" in completed.stderr) == (0, 1, False)


def test_rules_are_applied_and_explained(tmp_path: Path) -> None:
    (path := tmp_path / "rules.yaml").write_text(
        "rules: [{name: r, set: {a: b}}, {name: d, when: {message: y}, drop: true}]"
    )
    completed = parse("--rules", str(path), "--explain", stdin=LINE % (1, b"x") + LINE % (2, b"y"))
    kept, dropped = hits(completed)

    assert (kept["explain"]["a"], kept["rules"]) == ("rule r", ["r"])
    assert (dropped["dropped"], dropped["message"]) == ("d", "y")
    assert b"1 events dropped: d" in completed.stderr
    assert b"2 events, 1 documents; levels: 1 none" in completed.stderr


def _terminal_output(options: list[str], data: bytes) -> str:
    """Return the output on a terminal for lines on standard input."""
    controller, terminal = pty.openpty()
    child = subprocess.Popen(
        [*CRISP, *options],
        stdin=subprocess.PIPE,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "NO_COLOR": "1"},
    )
    child.communicate(data)
    os.close(terminal)
    output = b""
    try:
        while chunk := os.read(controller, 65536):
            output += chunk
    except OSError:
        pass  # the terminal is closed: all output was read
    os.close(controller)
    return output.decode()


@pytest.mark.parametrize("options", [[], ["--explain"]])
def test_control_characters_are_escaped_on_a_terminal(options: list[str]) -> None:
    sequences = "\x1b]0;owned\x07 \x9b31m \u202e\u2066 \r\x08 [red]markup[/red] end".encode()
    text = _terminal_output(
        options, LINE % (1, sequences) + LINE % (2, orjson.dumps({"message": "x", "k\x1b[2J": "\x1b[2J"}))
    )

    assert "[red]markup[/red] end" in text.replace("\r\n", " ").replace("│", "") or "[red]markup" in text
    assert not any(
        sequence in text for sequence in ("\x1b]", "\x9b", "\u202e", "\u2066", "\x08", "\x07", "\x1b[2J", "\x1b[31m")
    )
    assert "\\u001b" in text


def test_explanation_shows_line_breaks_and_container_fields_once() -> None:
    trace = LINE % (1, b"java.lang.Error: no") + LINE % (1, b"\tat a.B.c(B.java:1)")
    text = _terminal_output(["--explain"], trace + LINE % (2, b"x"))

    assert re.search(r"message +java.lang.Error: no +the line *\r\n +at a.B.c\(B.java:1\)", text)
    assert text.count("kubernetes.namespace") == 1
    assert "container fields as above" in text
