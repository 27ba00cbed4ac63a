"""Numbers of payment cards in a text: whole groups of digits of a known issuer, with the right check digit."""

import re
from collections.abc import Iterator

import re2

_DIGITS = re2.compile(r"\d(?:[ \-]?\d){12,}")
_BRANDS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12,15}|3(?:0[0-5]|[689]\d)\d{11}|35\d{14}|62\d{14,17}|(?:50|5[6-9]|6[0379])\d{10,17}",
    re.ASCII,
)
_MAX_CARD_DIGITS = 19
_HEX = re.compile(r"[0-9a-fA-F]{20,}")


def find_card_numbers(text: str) -> Iterator[tuple[int, int]]:
    """Spans of card numbers made of whole groups of digits, with blanks or hyphens between them."""
    for match in _DIGITS.finditer(text):
        begin, end = match.span()
        if _within_number(text, begin, end):
            continue
        groups = [(begin + group.start(), begin + group.end()) for group in re.finditer(r"\d+", match[0])]
        yield from _cards_in_groups(text, groups)


def _cards_in_groups(text: str, groups: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Search each run of groups for a card number: of no more digits than one has, or the time would be cubic."""
    redacted_end = 0
    for first, (start, _) in enumerate(groups):
        if start < redacted_end:
            continue
        digits = ""
        for group_start, stop in groups[first : first + _MAX_CARD_DIGITS]:
            digits += text[group_start:stop]
            if len(digits) > _MAX_CARD_DIGITS:
                break
            if is_card_number(digits):
                yield start, stop
                redacted_end = stop
                break


def _within_number(text: str, begin: int, end: int) -> bool:
    """Return whether digits are the fraction of a number, or part of a long hexadecimal number."""
    if begin > 1 and text[begin - 1] == "." and text[begin - 2].isdigit():
        return True
    if end + 1 < len(text) and text[end] == "." and text[end + 1].isdigit():
        return True
    around = text[max(0, begin - 64) : end + 64]
    return any(
        match.start() < end - max(0, begin - 64) and match.end() > begin - max(0, begin - 64)
        for match in _HEX.finditer(around)
        if not match[0].isdecimal()
    )


def is_card_number(digits: str) -> bool:
    """Return whether digits are a payment card's number: length and prefix of a known issuer, and the check digit."""
    if not _BRANDS.fullmatch(digits):
        return False
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0
