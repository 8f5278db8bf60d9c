"""A real registry server on loopback: Debian's docker-registry."""

import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

from support import tools

_CONFIG = """\
version: 0.1
log: {{level: warn, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: true}}
http:
  addr: {address}
{more}
"""


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Registry:
    """A registry with its data in ``directory``; use it in a ``with``.

    ``address`` is its host:port.  ``tls``: serve https with a certificate of its own,
    ``certificate`` is the PEM file to trust.  ``users``: name → password, then it asks
    for one (basic authentication).
    """

    def __init__(self, directory, tls=False, users=None):
        self.directory = directory
        self.address = f"127.0.0.1:{free_port()}"
        self.users = users or {}
        self.certificate = f"{directory}/cert.pem" if tls else None
        os.makedirs(f"{directory}/data", exist_ok=True)
        more = ""
        if tls:
            self._make_certificate()
            more += f"  tls: {{certificate: {directory}/cert.pem, key: {directory}/key.pem}}\n"
        if users:
            self._write_passwords()
            more += f"auth: {{htpasswd: {{realm: test, path: {directory}/htpasswd}}}}\n"
        with open(f"{directory}/config.yml", "w", encoding="utf-8") as file:
            file.write(
                _CONFIG.format(root=f"{directory}/data", address=self.address, more=more)
            )
        self._log = open(f"{directory}/log", "wb")  # noqa: SIM115 (closed by stop)
        self.process = subprocess.Popen(
            [tools.find("docker-registry"), "serve", f"{directory}/config.yml"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={"PATH": tools.PATH, "OTEL_TRACES_EXPORTER": "none"},
        )
        self._wait_until_up()

    def _make_certificate(self):
        subprocess.run(
            [tools.find("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes",
             "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
             "-keyout", f"{self.directory}/key.pem", "-out", self.certificate],
            check=True, capture_output=True,
        )  # fmt: skip

    def _write_passwords(self):
        lines = [
            subprocess.run(
                [tools.find("htpasswd"), "-niBC4", name],
                input=password.encode(), check=True, capture_output=True,
            ).stdout
            for name, password in self.users.items()
        ]  # fmt: skip
        with open(f"{self.directory}/htpasswd", "wb") as file:
            file.write(b"".join(lines))

    @property
    def url(self):
        """The start of its addresses."""
        return f"http{'s' if self.certificate else ''}://{self.address}"

    def _wait_until_up(self):
        trust = ssl.create_default_context(cafile=self.certificate) if self.certificate else None
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/v2/", timeout=5, context=trust).close()
                return
            except urllib.error.HTTPError:
                return  # it answers, if only to ask who we are
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    with open(f"{self.directory}/log", encoding="utf-8") as file:
                        raise AssertionError(f"docker-registry:\n{file.read()}") from None
                time.sleep(0.02)

    def push(self, source, name, *options):
        """Copy an image (``oci-archive:PATH``…) there with skopeo: its full reference."""
        target = f"{self.address}/{name}"
        words = [tools.find("skopeo"), "--insecure-policy", "copy", "--quiet"]
        words += ["--dest-tls-verify=false", *options]
        for user, password in list(self.users.items())[:1]:
            words.append(f"--dest-creds={user}:{password}")
        if not self.users:  # else it reads a login file, which may be of somebody else
            words.append("--dest-no-creds")
        tools.run(*words, source, f"docker://{target}")
        return target

    def stop(self):
        """End the server."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        self._log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
