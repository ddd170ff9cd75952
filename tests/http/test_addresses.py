"""Which addresses are public."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from streamflow.http import addresses
from streamflow.http.addresses import Guard, Refused, odd_literal, special


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.0.9",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:0:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:2::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2a00:1450::5efe:10.0.0.1",
        "2a00:1450::200:5efe:127.0.0.1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "4000::1",
        # what is no plain address at all
        "2130706433",
        "127.1",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "",
    ],
)
def test_special_addresses(address: str) -> None:
    assert special(address) is not None


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450:4001::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
        "2a00:1450::5efe:8.8.8.8",
    ],
)
def test_public_addresses(address: str) -> None:
    assert special(address) is None


@given(st.ip_addresses(v=4))
def test_ipv4_in_no_wrapping_is_more_public_than_bare(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    bare = special(str(address))
    if not address.is_global or address.is_multicast:
        assert bare is not None
    for wrapped in (
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1",
        f"2a00:1450::5efe:{address}",
    ):
        assert (special(wrapped) is None) == (bare is None)


@given(st.ip_addresses(v=6))
def test_ipv6_outside_of_global_unicast_is_never_public(address: ipaddress.IPv6Address) -> None:
    if special(str(address)) is None:
        translated = address.ipv4_mapped or address in ipaddress.IPv6Network("64:ff9b::/96")
        assert translated or address in ipaddress.IPv6Network("2000::/3")
        assert not address.is_multicast


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.0.0.01", "0"])
def test_disguised_ipv4_literals(host: str) -> None:
    assert odd_literal(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "example.org", "::1", "1.2.3.4.5", "", "dead.beef", "3com.com"])
def test_what_is_no_disguise(host: str) -> None:
    assert not odd_literal(host)


class Told(AbstractResolver):
    """Resolves every name to the addresses it was told."""

    answers: list[str] = []  # noqa: RUF012 - set by each test

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.answers
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> type[Told]:
    monkeypatch.setattr(addresses, "DefaultResolver", Told)
    return Told


@pytest.mark.asyncio
async def test_a_name_is_resolved_to_its_public_addresses_only(told: type[Told]) -> None:
    told.answers = ["10.0.0.1", "8.8.8.8", "::1"]
    assert [one["host"] for one in await Guard().resolve("example.org", 80)] == ["8.8.8.8"]
    told.answers = ["10.0.0.1", "fe80::1%eth0"]
    with pytest.raises(Refused, match="a private network"):
        await Guard().resolve("example.org", 80)
    assert [one["host"] for one in await Guard(allow_private=True).resolve("example.org", 80)] == ["10.0.0.1"]


@pytest.mark.asyncio
async def test_metadata_services_are_refused_though_private_addresses_are_allowed(told: type[Told]) -> None:
    guard = Guard(allow_private=True)
    for address in (
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd20:ce::254",
    ):
        told.answers = [address]
        with pytest.raises(Refused, match="metadata"):
            await guard.resolve("example.org", 80)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with pytest.raises(Refused, match="metadata"):
            guard.socket((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 80)))
    told.answers = ["127.0.0.1", "192.168.1.7", "fd12:3456::1", "8.8.8.8"]
    assert len(await guard.resolve("example.org", 80)) == 4


@pytest.mark.asyncio
async def test_an_exception_holds_for_its_host_and_port_only(told: type[Told]) -> None:
    told.answers = ["10.0.0.1"]
    guard = Guard(allow=["Mirror.example.org:8080", "127.0.0.1:9000"])
    assert len(await guard.resolve("mirror.example.org", 8080)) == 1
    for host, port in (("mirror.example.org", 80), ("other.example.org", 9000)):
        with pytest.raises(Refused):
            await guard.resolve(host, port)
    allowed = [("10.0.0.1", 8080), ("127.0.0.1", 9000)]
    for address in [*allowed, ("10.0.0.1", 80), ("127.0.0.1", 9001), ("127.0.0.2", 9000)]:
        info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
        if address in allowed:
            guard.socket(info).close()
        else:
            with pytest.raises(Refused):
                guard.socket(info)
