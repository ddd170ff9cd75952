"""Which network addresses a download may connect to: public ones only.

A URL from a document or a database of others must not reach what only this machine or its network can reach
(cloud metadata, routers, databases on loopback). So the check sits where the connection is made, after the
name was resolved, and on every connection: names that resolve to private addresses, names that change their
mind (DNS rebinding) and redirects are all caught there.

The networks are those of IANA's special-purpose address registries (RFC 6890 and its updates, as of 2026),
kept here because Python's `is_global` differs between patch releases; it is asked as well.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_SPECIAL_4 = {
    ipaddress.IPv4Network(network): what
    for network, what in {
        "0.0.0.0/8": "this host",
        "10.0.0.0/8": "a private network",
        "100.64.0.0/10": "a provider's inner network",
        "127.0.0.0/8": "this host",
        "168.63.129.16/32": "a cloud's inner service",  # Azure's, though registered as public
        "169.254.0.0/16": "the local link",
        "172.16.0.0/12": "a private network",
        "192.0.0.0/24": "a protocol assignment",
        "192.0.2.0/24": "documentation",
        "192.88.99.0/24": "a 6to4 relay",
        "192.168.0.0/16": "a private network",
        "198.18.0.0/15": "benchmarking",
        "198.51.100.0/24": "documentation",
        "203.0.113.0/24": "documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved use",
    }.items()
}
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_6 = {
    ipaddress.IPv6Network(network): what
    for network, what in {
        "2001::/23": "a protocol assignment",  # Teredo (2001::/32) among them
        "2001:db8::/32": "documentation",
        "3fff::/20": "documentation",
    }.items()
}
# Where clouds tell a machine its credentials: on the local link, and the few addresses beside it that are documented
# (AWS and Google over IPv6, Alibaba, Azure). Whoever allows private addresses means servers of their own, not these.
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",
        "fe80::/10",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
        "100.100.100.200/32",
        "168.63.129.16/32",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_6TO4 = ipaddress.IPv6Network("2002::/16")
_ISATAP = (0x00005EFE, 0x02005EFE)


class Refused(OSError):
    """An address that may not be connected to. The text completes "… leads to"."""


def special(address: str) -> str | None:
    """Why `address` is not a public one, `None` if it is. What is no plain IP address is not public either."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "no plain IP address"
    return _special(parsed)


def odd_literal(host: str) -> bool:
    """Whether a URL's host is an IPv4 address in disguise (`2130706433`, `0x7f.1`, `0177.0.0.1`).

    The system's functions take these for addresses, and so does nobody in earnest.
    """
    try:
        socket.inet_aton(host)
    except (OSError, ValueError):
        return False
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return True
    return False


class Guard(AbstractResolver):
    """Resolves names and makes sockets for an aiohttp connector, for allowed addresses only.

    `allow` names exceptions as `host:port`, as they stand in the URL; `allow_private` allows everything but the local
    link and the metadata services of clouds.
    """

    def __init__(self, *, allow_private: bool = False, allow: Collection[str] = ()) -> None:
        self._allow_private = allow_private
        self._allow = {entry.lower() for entry in allow}
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The allowed addresses of a name. Raises `Refused` when it has others only."""
        found = await self._resolver.resolve(host, port, family)
        if f"{host.lower()}:{port}" in self._allow:
            self._allow.update(f"{one['host']}:{port}" for one in found)
        allowed = [one for one in found if self._why_not(one["host"], port) is None]
        if found and not allowed:
            raise Refused(f"an address that is not public ({self._why_not(found[0]['host'], port)})")
        return allowed

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for one address, as aiohttp's `socket_factory`. IP literals in URLs only pass here."""
        family, kind, protocol, _, address = info
        why_not = self._why_not(str(address[0]), address[1])
        if why_not is not None:
            raise Refused(f"an address that is not public ({why_not})")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        await self._resolver.close()

    def _why_not(self, address: str, port: int) -> str | None:
        if f"{address}:{port}" in self._allow:
            return None
        return _metadata(address) if self._allow_private else special(address)


def _metadata(address: str) -> str | None:
    """Why not even `allow_private` allows `address`, `None` if it does."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "no plain IP address"
    inner = _embedded(parsed) if isinstance(parsed, ipaddress.IPv6Address) else None
    for network in _NEVER:
        if parsed in network or (inner is not None and inner in network):
            return "the local link, or a cloud's metadata service"
    return None


def _special(address: IPAddress) -> str | None:
    if isinstance(address, ipaddress.IPv4Address):
        for network, what in _SPECIAL_4.items():
            if address in network:
                return what
        return None if address.is_global else "special use"
    inner = _embedded(address)
    if inner is not None:
        inner_use = _special(inner)
        return None if inner_use is None else f"{inner_use}, wrapped into IPv6"
    if address not in _GLOBAL_6:
        return "this host" if address.is_loopback else "special use of IPv6"
    for special_network, what in _SPECIAL_6.items():
        if address in special_network:
            return what
    return None if address.is_global else "special use of IPv6"


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address to which a packet for this one ends up being sent, if there is one."""
    number = int(address)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if address in _6TO4:
        return ipaddress.IPv4Address(number >> 80 & 0xFFFFFFFF)
    if (number >> 32) & 0xFFFFFFFF in _ISATAP:
        inner = ipaddress.IPv4Address(number & 0xFFFFFFFF)
        return inner if _special(inner) else None  # the prefix must be public as well
    return None
