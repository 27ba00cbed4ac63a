"""The runbooks: one Markdown page per problem, part of the package so that they are available offline."""

from importlib import resources

from pipeline.errors import UsageError

_DIRECTORY = resources.files("pipeline").joinpath("runbooks")


def names() -> list[str]:
    """The names of all runbooks."""
    return sorted(page.name.removesuffix(".md") for page in _DIRECTORY.iterdir() if page.name.endswith(".md"))


def text(name: str) -> str:
    """The page as Markdown. Raises UsageError with the existing names."""
    if name not in names():
        raise UsageError(f"no runbook {name!r}; the runbooks are {', '.join(names())}")
    return _DIRECTORY.joinpath(f"{name}.md").read_text()
