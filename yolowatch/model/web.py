"""How the HTTP door is guarded: frozen, made from text by `config.web`.

In the form of Prometheus' exporter-toolkit, so that a site's one file serves all its exporters.
Paths are as they were written, made absolute; whether they can be read is found elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tls:
    """`client_auth` is exporter-toolkit's `client_auth_type`."""

    cert_file: str
    key_file: str
    client_auth: str = "NoClientCert"
    client_ca_file: str | None = None
    client_allowed_sans: tuple[str, ...] = ()
    min_version: str = "TLS12"
    max_version: str = "TLS13"

    @property
    def files(self) -> tuple[str, ...]:
        """All that it names."""
        named = (self.cert_file, self.key_file, self.client_ca_file)
        return tuple(each for each in named if each is not None)


@dataclass(frozen=True)
class WebConfig:
    """Without `tls` it is plain HTTP; without `users` nobody is asked who they are."""

    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)  # name -> bcrypt's hash
    headers: Mapping[str, str] = field(default_factory=dict)
