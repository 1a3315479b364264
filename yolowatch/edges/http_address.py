"""Addresses to listen on: read from text, resolved, and explained where they cannot be had."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass
from typing import Any

from yolowatch.errors import AddressError

_EXAMPLE = "write HOST:PORT, for example 127.0.0.1:9480, or port 0 for a free one"


@dataclass(frozen=True)
class Address:
    """Where to listen; `host` is a name or an IP address without brackets, port 0 a free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether nobody from outside can reach it; a name is not believed, but for the usual."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str) -> Address:
    """HOST:PORT, with brackets around an IPv6 address; raises AddressError."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise AddressError(f"{text!r} is no address: brackets are for IPv6; {_EXAMPLE}.")
    elif ":" in host:
        raise AddressError(
            f"{text!r} is no address: put brackets around an IPv6 host, as in [::1]:9480."
        )
    if not colon or not host or any(each.isspace() or each in "/@[]" for each in host):
        raise AddressError(f"{text!r} is no address: {_EXAMPLE}.")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise AddressError(f"{text!r} has no port from 0 to 65535: {_EXAMPLE}.")
    return Address(host, int(port))


def resolve(address: Address) -> tuple[int, tuple[Any, ...]]:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise AddressError(
            f"The host of {address} is unknown ({getattr(error, 'strerror', None) or error}): "
            "give an IP address of this machine."
        ) from error
    family, _, _, _, target = found[0]
    return family, target


def sentence(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"The address {address} is in use: choose another port, or 0 for a free one."
    if error.errno == errno.EACCES:
        return (
            f"Port {address.port} is reserved for root: choose one above 1023, or 0 for a free one."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address.host} is no address of this machine: choose 127.0.0.1 or one that is."
    return f"The address {address} cannot be listened on ({error.strerror}): choose another."
