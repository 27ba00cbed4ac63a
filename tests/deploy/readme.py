"""The lines of the deployment's page that its reader is to type."""

import re
import shlex

from tests.deploy.manifests import DEPLOY

README = (DEPLOY / "README.md").read_text()


def commands(*sections: str) -> list[list[str]]:
    """The words of every line of the shell blocks, of some sections or of all, as they stand."""
    parts = re.split(r"^## (.*)\n", README, flags=re.MULTILINE)
    by_title = dict(zip(parts[1::2], parts[2::2], strict=True))
    text = "".join(by_title[title] for title in sections or by_title)
    blocks = re.findall(r"^ *```sh\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]
