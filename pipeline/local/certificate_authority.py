"""A certificate authority of one stack and a server certificate for loopback, created with the JDK's keytool."""

import subprocess
from pathlib import Path

from pipeline.errors import StackError
from pipeline.local import java

PASSWORD = "crisp-local"  # noqa: S105 - of keystores for loopback only, deleted with the stack
_DAYS = "30"


class CertificateAuthority:
    """Files in a directory: `ca.pem` to trust, `server.p12` for servers on 127.0.0.1 and localhost."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.certificate = directory / "ca.pem"
        self.server_keystore = directory / "server.p12"
        self._ca_keystore = directory / "ca.p12"

    def create(self) -> None:
        """Create all files. Raises StackError."""
        self.directory.mkdir()
        self._generate_key_pair(self._ca_keystore, "ca", "CN=crisp local authority", "bc:c=ca:true", "ku:c=keyCertSign")
        self._keytool(self._ca_keystore, "-exportcert", "-rfc", "-alias", "ca", "-file", str(self.certificate))
        self._generate_key_pair(self.server_keystore, "server", "CN=crisp local server")
        request, signed = self.directory / "server.csr", self.directory / "server.pem"
        self._keytool(self.server_keystore, "-certreq", "-alias", "server", "-file", str(request))
        sign = ("-gencert", "-rfc", "-alias", "ca", "-ext", "SAN=ip:127.0.0.1,dns:localhost", "-validity", _DAYS)
        self._keytool(self._ca_keystore, *sign, "-infile", str(request), "-outfile", str(signed))
        self._keytool(self.server_keystore, "-importcert", "-noprompt", "-alias", "ca", "-file", str(self.certificate))
        self._keytool(self.server_keystore, "-importcert", "-noprompt", "-alias", "server", "-file", str(signed))
        for path in (self.directory, *self.directory.iterdir()):
            path.chmod(0o755)

    def _generate_key_pair(self, store: Path, alias: str, name: str, *extensions: str) -> None:
        options = [part for extension in extensions for part in ("-ext", extension)]
        self._keytool(
            store, "-genkeypair", "-alias", alias, "-dname", name, "-keyalg", "EC", "-validity", _DAYS, *options
        )

    def _keytool(self, store: Path, *arguments: str) -> None:
        command = [str(java.home() / "bin" / "keytool"), "-keystore", str(store), "-storetype", "PKCS12"]
        result = subprocess.run(
            [*command, "-storepass", PASSWORD, *arguments], capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise StackError(f"keytool failed: {arguments[0]}:\n{result.stdout}{result.stderr}")
