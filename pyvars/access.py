"""Who may look. A rule is a function of the Request."""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pyvars.site.http import Request

__all__ = ("Rule", "is_loopback", "local")

Rule: TypeAlias = "Callable[[Request], bool]"
"""Whether this request may look."""

_FORWARDING = ("forwarded", "via", "x-real-ip", "cf-connecting-ip", "true-client-ip")


def local(request: "Request") -> bool:
    """Only programs on this machine, and no proxy that leaves a trace.

    The peer is on loopback or a unix socket, the Host names loopback (or a web page could look through its reader's
    browser, by DNS rebinding), the protocol is HTTP/1.1 or later (nginx's default to its backends was 1.0 until
    1.29.7), and no header says that the request was forwarded. Over a unix socket the Host may be missing.
    """
    if request.peer is None or (request.peer and not is_loopback(request.peer)):
        return False
    if request.http_version in ("1.0", "0.9"):
        return False
    hosts: list[str] = []
    for name, header in request.headers:
        if name == "host":
            hosts.append(header)
        elif name in _FORWARDING or name.startswith("x-forwarded"):
            return False
    if not hosts:
        return request.peer == ""
    return len(hosts) == 1 and _names_loopback(hosts[0])


@lru_cache(maxsize=256)
def is_loopback(address: str) -> bool:
    """Whether an address, or the name localhost, is this machine's own. IPv4 mapped into IPv6 is unwrapped."""
    if address == "localhost":
        return True
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:  # CPython 3.11 and 3.12 do not look inside
        ip = ip.ipv4_mapped
    return ip.is_loopback


def _names_loopback(host: str) -> bool:
    name, bracket, port = host.lower().rpartition("]")
    if bracket:
        if not name.startswith("[") or not _is_port(port):
            return False
        return is_loopback(name[1:])
    name, colon, port = host.lower().partition(":")
    return (not colon or _is_port(colon + port)) and is_loopback(name.removesuffix("."))


def _is_port(port: str) -> bool:
    return port == "" or (port.startswith(":") and port[1:].isascii() and (port == ":" or port[1:].isdigit()))
