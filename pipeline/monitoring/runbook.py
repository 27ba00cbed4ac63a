"""The runbooks: a page of Markdown for each thing that can be wrong, part of the program so that it is at hand then."""

from importlib import resources

from pipeline.errors import UsageError

_DIRECTORY = resources.files("pipeline").joinpath("runbooks")


def names() -> list[str]:
    """Every runbook's name."""
    return sorted(page.name.removesuffix(".md") for page in _DIRECTORY.iterdir() if page.name.endswith(".md"))


def text(name: str) -> str:
    """The page. Raises UsageError, which names those that there are."""
    if name not in names():
        raise UsageError(f"no runbook {name!r}; there are {', '.join(names())}")
    return _DIRECTORY.joinpath(f"{name}.md").read_text()
