"""TLS, client certificates and passwords of the HTTP door, over real sockets and certificates."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import bcrypt
import pytest
import trustme

from yolowatch.edges.certificates import certificate_trouble
from yolowatch.edges.clock import SystemClock
from yolowatch.edges.http import Address, HttpBounds, HttpServer, Page
from yolowatch.edges.http_access import Access, Passwords
from yolowatch.edges.http_shared import Shared
from yolowatch.errors import ConfigError

# Of a fixed salt: it is in the names of tests, which every process must find the same.
HASH = bcrypt.hashpw(b"right", b"$2b$04$abcdefghijklmnopqrstuu").decode()
TLS = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"


class Site:
    """A folder with a web configuration file, certificates and a server that is guarded by them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()
        self.path = folder / "web.yaml"
        self.authority = trustme.CA()
        self.server: HttpServer | None = None

    def certificate(self, *, days: int = 30, name: str = "localhost") -> None:
        until = datetime.now(timezone.utc) + timedelta(days=days)
        since = until - timedelta(days=90)
        made = self.authority.issue_cert(name, "127.0.0.1", not_before=since, not_after=until)
        made.private_key_pem.write_to_path(self.folder / "key.pem")
        (self.folder / "cert.pem").write_bytes(
            b"".join(each.bytes() for each in made.cert_chain_pems)
        )

    def serve(self, text: str) -> HttpServer:
        self.path.write_text(text)
        access = Access(self.path, SystemClock(), self.said.append)
        self.server = HttpServer(
            Address("127.0.0.1", 0),
            lambda accept: ("text/plain", b"metrics\n"),
            pages=lambda path: Page(b"<p>page", "default-src 'none'") if path == "/" else None,
            access=access,
        )
        self.server.start()
        return self.server

    def ask(
        self,
        path: str = "/metrics",
        login: str | None = None,
        client: trustme.LeafCert | None = None,
    ) -> tuple[int, dict[str, str], str]:
        assert self.server is not None
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if client is not None:
            client.configure_cert(context)
        url = self.server.url.replace("127.0.0.1", "localhost").removesuffix("/metrics") + path
        request = urllib.request.Request(url)
        if login is not None:
            token = base64.b64encode(login.encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return answer.status, dict(answer.headers), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read().decode()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    if found.server is not None:
        found.server.close()


def refused(site: Site, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        site.serve(text)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


# ---------------------------------------------------------------- what is let in


def test_https_with_the_sites_certificate(site: Site) -> None:
    site.certificate()
    server = site.serve(TLS)
    assert server.url.startswith("https://")
    assert site.ask()[::2] == (200, "metrics\n")
    with socket.create_connection(("127.0.0.1", server.address.port), timeout=10) as plain:
        plain.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b"metrics" not in plain.recv(1000)
    assert server.failures == 0


def test_a_name_and_a_password_for_every_path(site: Site) -> None:
    site.serve(f"basic_auth_users: {{ann: '{HASH}'}}\n")
    for path in ("/metrics", "/", "/-/healthy", "/nothing"):
        status, headers, body = site.ask(path)
        assert (status, headers["WWW-Authenticate"].split()[0]) == (401, "Basic")
        assert "page" not in body
    for wrong in ("ann:wrong", "bob:right", "ann", ":", "ann:" + "x" * 200, "äö:ü"):
        assert site.ask(login=wrong)[0] == 401
    assert site.ask(login="ann:right")[0] == 200


def test_a_client_certificate_of_the_sites_authority(site: Site) -> None:
    site.certificate()
    site.authority.cert_pem.write_to_path(site.folder / "ca.pem")
    site.serve(
        "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
        "  client_allowed_sans: [prometheus.example]\n"
    )
    assert site.ask(client=site.authority.issue_cert("prometheus.example"))[0] == 200
    for stranger in (
        None,
        trustme.CA().issue_cert("prometheus.example"),
        site.authority.issue_cert("other.example"),
    ):
        with pytest.raises(OSError):  # noqa: PT011 reset, refused or cut: what the kernel says
            site.ask(client=stranger)
    assert site.ask(client=site.authority.issue_cert("prometheus.example"))[0] == 200


def test_a_page_comes_with_its_policy_and_the_sites_headers(site: Site) -> None:
    site.serve("http_server_config: {headers: {Strict-Transport-Security: max-age=600}}\n")
    status, headers, body = site.ask("/")
    assert (status, body) == (200, "<p>page")
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Strict-Transport-Security"] == "max-age=600"


def test_a_password_is_worked_out_once() -> None:
    passwords, header = Passwords({"ann": HASH}), base64.b64encode(b"ann:right").decode()
    asked: list[str] = []
    check = passwords._check
    passwords._check = lambda *a: asked.append(a[0]) or check(*a)  # type: ignore[method-assign,func-returns-value]
    assert all(passwords.allow(f"Basic {header}") for _ in range(5))
    assert asked == ["ann"]
    assert not passwords.allow(f"Bearer {header}")
    assert not passwords.allow("Basic !!!")
    assert not passwords.allow(None)


# ---------------------------------------------------------------- read again


def renew(site: Site, change: Callable[[], object]) -> str:
    """What is said once a change was noticed."""
    before = len(site.said)
    change()
    clock, end = SystemClock(), SystemClock().monotonic() + 20
    while len(site.said) == before:
        assert clock.monotonic() < end
        try:
            site.ask()
        except OSError:
            pass
        clock.sleep(0.1)
    return site.said[-1]


def test_what_changes_is_read_again_and_what_is_wrong_changes_nothing(site: Site) -> None:
    site.certificate()
    site.serve(TLS)
    assert site.ask()[0] == 200
    locked = TLS + f"basic_auth_users: {{ann: '{HASH}'}}\n"
    assert "is in force" in renew(site, lambda: site.path.write_text(locked))
    assert site.ask()[0] == 401
    said = renew(site, lambda: site.path.write_text("basic_auth_user: {}\n"))
    assert "stays as it was" in said
    assert "did you mean 'basic_auth_users'?" in said
    assert (site.ask()[0], site.ask(login="ann:right")[0]) == (401, 200)
    said = renew(site, lambda: (site.path.write_text(locked), site.certificate(days=-1)))
    assert "certificate has expired" in said
    assert site.ask(login="ann:right")[0] == 200  # with the certificate of before
    assert "is in force" in renew(site, lambda: site.certificate(days=20))
    assert len(site.said) == 4


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is no YAML"),
        ("tls_server_config: {cert_file: a}", "key_file is missing"),
        ("tls_server_config: {cert_file: a, key_file: b, cipher_suites: [X]}", "is not taken"),
        (TLS.replace("}", ", client_auth_type: RequestClientCert}"), "VerifyClientCertIfGiven"),
        (TLS.replace("}", ", client_auth_type: RequireAndVerifyClientCert}"), "client_ca_file"),
        (TLS.replace("}", ", client_ca_file: c}"), "has no effect without"),
        (TLS.replace("}", ", min_version: TLS11}"), "one of: TLS12, TLS13"),
        (TLS.replace("}", ", min_version: TLS13, max_version: TLS12}"), "must not be above"),
        ("basic_auth_users: {ann: secret-word}", "must be bcrypt's hash"),
        (f"basic_auth_users: {{ann: '$2y$31${HASH[7:]}'}}", "a cost from 4 to 14"),
        (f"basic_auth_users: {{'a:b': '{HASH}'}}", "without a colon"),
        ("http_server_config: {headers: {X-Other: a}}", "unknown key 'X-Other'"),
        ("tls_server_config: 7", "must be a mapping"),
    ],
)
def test_a_bad_file_is_one_sentence(site: Site, text: str, said: str) -> None:
    sentence = refused(site, text)
    assert said in sentence
    assert "secret-word" not in sentence


def test_certificates_that_are_of_no_use(site: Site) -> None:
    assert "cert.pem cannot be loaded" in refused(site, TLS)
    site.certificate(days=-1)
    assert "is of no use: certificate has expired; renew it" in refused(site, TLS)
    site.certificate(days=120)
    assert "certificate is not yet valid" in refused(site, TLS)
    site.certificate()
    assert certificate_trouble(*(str(site.folder / n) for n in ("cert.pem", "key.pem"))) is None
    (site.folder / "key.pem").write_text("no key")
    assert "both must be readable files in PEM form" in refused(site, TLS)
    site.certificate()
    trustme.CA().private_key_pem.write_to_path(site.folder / "key.pem")
    assert "cannot be loaded with the key" in refused(site, TLS)
    site.path.unlink()
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Access(site.path, SystemClock(), site.said.append)


# ---------------------------------------------------------------- hostile clients


def test_ten_megabytes_of_headers_are_refused_with_an_answer(site: Site) -> None:
    server = site.serve("")
    line = b"X-Flood: " + b"a" * 60_000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.address.port), timeout=10) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        try:
            for _ in range(10_000_000 // len(line)):
                client.sendall(line)
        except OSError:
            pass  # cut while it sent: then the answer lies there all the same, or is gone
        answer = b""
        try:
            while chunk := client.recv(4096):
                answer += chunk
        except OSError:
            pass
    assert not answer or b" 431 " in answer.splitlines()[0]
    assert site.ask()[0] == 200
    assert server.failures == 0


def test_a_hundred_kilobytes_of_headers_get_their_answer(site: Site) -> None:
    server = site.serve("")
    with socket.create_connection(("127.0.0.1", server.address.port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + (b"A: " + b"a" * 30_000 + b"\r\n") * 5 + b"\r\n")
        assert b" 431 " in client.recv(4096).splitlines()[0]


def test_a_client_that_never_shakes_hands_is_cut(site: Site, tmp_path: Path) -> None:
    site.certificate()
    site.path.write_text(TLS)
    bounds = HttpBounds(connections=2, silence_seconds=0.3, request_seconds=0.6)
    server = HttpServer(
        Address("127.0.0.1", 0),
        lambda accept: ("text/plain", b"metrics\n"),
        access=Access(site.path, SystemClock(), site.said.append),
        bounds=bounds,
    )
    server.start()
    site.server = server
    clients = [
        socket.create_connection(("127.0.0.1", server.address.port), timeout=10) for _ in range(2)
    ]
    for client in clients:
        assert client.recv(100) == b""
        client.close()
    clock, end = SystemClock(), SystemClock().monotonic() + 10
    while True:
        try:
            assert site.ask()[0] == 200
        except OSError:
            assert clock.monotonic() < end
            clock.sleep(0.05)
        else:
            break


# ---------------------------------------------------------------- one answer for all


def test_who_asks_together_gets_one_answer_and_nobody_an_old_one() -> None:
    began, go = threading.Event(), threading.Event()
    made: list[int] = []

    def make(question: str) -> int:
        made.append(len(made))
        number = made[-1]
        began.set()
        go.wait(10)
        return number

    shared = Shared(make)
    answers: list[int] = []
    first = threading.Thread(target=lambda: answers.append(shared("a")))
    first.start()
    assert began.wait(10)
    later = [threading.Thread(target=lambda: answers.append(shared("a"))) for _ in range(8)]
    for each in later:
        each.start()
    SystemClock().sleep(0.2)  # all of them wait by now
    go.set()
    for each in (first, *later):
        each.join()
    assert sorted(answers) == [0] + [1] * 8  # the first was begun before they had asked
    assert shared("a") == 2
    assert shared("b") == 3


def test_a_failure_is_nobody_elses() -> None:
    failing = [True]

    def make(question: str) -> str:
        if failing.pop():
            raise RuntimeError("a bug")
        return question

    shared = Shared(make)
    failing.append(True)
    with pytest.raises(RuntimeError):
        shared("a")
    failing[:] = [False]
    assert shared("a") == "a"
