"""HTTP requests to the status pages."""

import urllib.error
import urllib.request


def get(port: int, path: str) -> tuple[int, str]:
    """Return status and body of a GET request to this machine; status 0 and the error without a response."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)
