"""Ordinary text, thousands of lines of it, gives no level, no logger, no thread, no id, no error and no time."""

import random

import pytest

from pipeline.parsing.text import text_formats

_TEXT = (
    "the order of customer was started then processed by payment and its state kept until every request had been "
    "handled in database while service waited for what basket value would be error errors warning debug info panic "
    "alert fatal notice critical trace log config fail failed failure emergency verbose fine severe exception "
    "main worker thread pool 5 42 v1.2.3 10.0.0.1 config.yaml main.go shop.example.com http://shop.example/a?b=1 "
    "e.g. i.e. a/b (maybe) [optional] {x} <none> key=value id=7 50% -10 +03 -1000 x:y #12 * & | -- - > :"
)
_WORDS = _TEXT.split()
_STARTS = (
    *("", "", "", "- ", "* ", "> ", "# ", "$ ", "+ ", "=== ", "(3) ", "[1/5] ", "[ok] ", "Step 3/4 : ", "  ", "\t"),
    *("2026/11/24 10:00:00 ", "2026-11-24 10:00:00 ", "2026-11-24T10:00:00.123 ", "[2026-11-24 10:00:00] "),
    *("10:00:00 ", "[10:00:00] ", "Nov 24 10:00:00 ", "Nov 24, 2026 ", "24 Nov 2026 ", "261124 ", "1795514400 "),
)
_LINES_PER_SEED = 2000


def _line(random_: random.Random) -> str:
    words = random_.choices(_WORDS, k=random_.randrange(1, 14))
    first = random_.choice([words[0], words[0].capitalize()])
    rest = " ".join(words[1:])
    # A level's word with a colon or a bar right behind it is a level.
    return f"{random_.choice(_STARTS)}{first} {rest if rest[:1] not in (':', '|', '-', '>') else 'a ' + rest}"


@pytest.mark.parametrize("seed", range(16))
def test_ordinary_text_has_no_fields(seed: int) -> None:
    random_ = random.Random(seed)
    read = {line: text_formats.parse(line) for line in (_line(random_) for _ in range(_LINES_PER_SEED))}

    assert {line: fields for line, fields in read.items() if fields} == {}
