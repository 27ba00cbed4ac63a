"""Kibana's status, and the import of saved objects: what the Compose file's health check and `crisp setup` ask."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = "8.19.21"


class Handler(BaseHTTPRequestHandler):
    """Responds as Kibana does."""

    def do_GET(self) -> None:
        """Respond with the status."""
        self._respond(200, {"version": {"number": VERSION}, "status": {"overall": {"level": "available"}}})

    def do_POST(self) -> None:
        """Count the imported objects; Kibana rejects requests without its header."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["kbn-xsrf"] is None or not self.path.startswith("/api/saved_objects/_import"):
            self._respond(400, {"message": "Request must contain a kbn-xsrf header."})
            return
        objects = [line for line in body.splitlines() if line.startswith(b"{")]
        self._respond(200, {"success": True, "successCount": len(objects)})

    def _respond(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 5601), Handler).serve_forever()
