"""Server certificates: loaded, and proved by a handshake with ourselves before anybody sees them.

The library loads an expired certificate, or one for another purpose, without a word. So a client in
memory that trusts this very certificate shakes hands with the server: what a browser or Prometheus
would object to is found here, in words. Nothing is sent anywhere.
"""

from __future__ import annotations

import ssl

from yolowatch.errors import ConfigError
from yolowatch.model.web import Tls

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENTS = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_ROUNDS = 10  # of messages; a handshake has four


def server_context(tls: Tls) -> ssl.SSLContext:
    """A context that serves with this certificate; raises ConfigError with the one sentence."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    _load(context, tls)
    trouble = certificate_trouble(tls.cert_file, tls.key_file)
    if trouble is not None:
        raise ConfigError(f"The certificate {tls.cert_file} is of no use: {trouble}; renew it.")
    if tls.client_ca_file is not None:
        try:
            context.load_verify_locations(cafile=tls.client_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"The certificates of clients' authorities cannot be read from "
                f"{tls.client_ca_file} ({_why(error)}): name a file in PEM form."
            ) from None
    context.verify_mode = _CLIENTS[tls.client_auth]
    return context


def certificate_trouble(cert_file: str, key_file: str) -> str | None:
    """What clients would object to in a certificate, such as that it has expired; None: nothing.

    Raises ssl.SSLError or OSError where it cannot be loaded at all.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert_file, key_file, password=_no_password)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is trusted
    client.load_verify_locations(cafile=cert_file)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_ROUNDS):
        try:
            ours.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        else:
            return None
        try:
            theirs.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return "no handshake comes to an end with it"


def trouble_of(tls: Tls) -> str | None:
    """What is wrong with the certificate, in a few words; None where nothing is."""
    try:
        return certificate_trouble(tls.cert_file, tls.key_file)
    except OSError as error:
        return _why(error)


def _load(context: ssl.SSLContext, tls: Tls) -> None:
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"The certificate {tls.cert_file} cannot be loaded with the key {tls.key_file} "
            f"({_why(error)}): both must be readable files in PEM form, the key without a password."
        ) from None


def _no_password() -> str:
    """Without this an encrypted key would ask at the terminal, and wait."""
    return ""


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM").replace("_", " ").lower()
    return error.strerror or "it cannot be read"
