"""Which URLs and which addresses pictures may be fetched from."""

from __future__ import annotations

import ipaddress
import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmi_env.errors import ConfigError
from llmi_env.tools.web.addresses import AddressRefused, AddressRules, kind_of_address, parse_url


@pytest.mark.parametrize(
    ("url", "scheme", "authority", "path"),
    [
        ("http://pictures.example/owl.png", "http", "pictures.example", b"/owl.png"),
        ("HTTPS://Pictures.Example", "https", "pictures.example", b"/"),
        ("https://pictures.example:443/a", "https", "pictures.example", b"/a"),
        ("https://pictures.example:8443/a?w=640&h=1#top", "https", "pictures.example:8443", b"/a?w=640&h=1"),
        ("http://pictures.example./a", "http", "pictures.example", b"/a"),
        ("http://a_b.example/caf\u00e9 au lait.png", "http", "a_b.example", b"/caf%C3%A9%20au%20lait.png"),
        ("http://b\u00fccher.example/", "http", "xn--bcher-kva.example", b"/"),
        ("http://pictures.example?x=user@mail", "http", "pictures.example", b"/?x=user@mail"),
        ("http://93.184.215.14:81/", "http", "93.184.215.14:81", b"/"),
        ("http://[2606:2800:21f:cb07::1]:81/", "http", "[2606:2800:21f:cb07::1]:81", b"/"),
    ],
)
def test_a_url_is_taken_apart(url: str, scheme: str, authority: str, path: bytes) -> None:
    target = parse_url(url)
    assert (target.scheme, target.authority, target.path) == (scheme, authority, path)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://pictures.example/owl.png", "http or https"),
        ("file:///etc/passwd", "http or https"),
        ("data:image/png;base64,AAAA", "http or https"),
        ("javascript:alert(1)", "http or https"),
        ("//pictures.example/owl.png", "http or https"),
        ("owl.png", "http or https"),
        ("", "http or https"),
        ("http://user@pictures.example/", "user name"),
        ("http://user:password@pictures.example/", "user name"),
        ("http://@pictures.example/", "user name"),
        ("http://pictures.example@127.0.0.1/", "user name"),
        ("http://pictures.example\\@127.0.0.1/", "backslash"),
        ("http://127.0.0.1\\.pictures.example/", "backslash"),
        ("http://pictures.example/\r\nHost: other", "control"),
        ("http://pictures\t.example/", "control"),
        ("http://pictures.example/\x00", "control"),
        ("http://pictures.example/\x85", "control"),
        ("http:///owl.png", "no host"),
        ("http:/pictures.example/", "no host"),
        ("http://pictures..example/", "no host"),
        ("http://-pictures.example/", "no host"),
        ("http://%70ictures.example/", "no host"),
        ("http://pictures .example/", "no host"),
        ("http://" + "a" * 64 + ".example/", "no host"),
        ("http://\u24db\u24de\u24d2\u24d0\u24dbhost/", "cannot be read"),
        ("http://\uff11\uff12\uff17.0.0.1/", "cannot be read"),
        ("http://pictures.example:0/", "port 0"),
        ("http://pictures.example:65536/", "port 65536"),
        ("http://pictures.example:-1/", "port"),
        ("http://pictures.example:8_0/", "port"),
        ("http://pictures.example:+80/", "port"),
        ("http://pictures.example:\uff18\uff10/", "port"),
        ("http://pictures.example:80:80/", "cannot be read"),
        ("http://0177.0.0.1/", "cannot be read"),
        ("http://127.1/", "unusual notation"),
        ("http://0x7f.0.0.1/", "unusual notation"),
        ("http://0x7f000001/", "unusual notation"),
        ("http://2130706433/", "unusual notation"),
        ("http://017700000001/", "unusual notation"),
        ("http://pictures.example.127/", "unusual notation"),
        ("http://[fe80::1%25eth0]/", "zone"),
        ("http://[fe80::1%eth0]/", "zone"),
        ("http://[127.0.0.1]/", "cannot be read"),
        ("http://[::1/", "cannot be read"),
        ("http://[::1]example/", "cannot be read"),
        ("http://pictures.example/" + "a" * 9000, "longer than 8192"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(url: str, reason: str) -> None:
    with pytest.raises(AddressRefused, match=reason) as caught:
        parse_url(url)
    assert len(caught.value.reason) < 80, "the reason does not repeat the URL"
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


def test_dots_of_other_scripts_make_an_address_that_is_judged_as_one() -> None:
    target = parse_url("http://127\u30020\u30020\u30021/")
    assert target.address == ipaddress.IPv4Address("127.0.0.1")


@given(st.text(alphabet=string.printable + "\u00e9\u3002\uff0f\u2024\u24d0\u0130\u200b", max_size=60))
def test_any_text_is_a_target_or_refused(text: str) -> None:
    for url in (text, "http://" + text):
        try:
            target = parse_url(url)
        except AddressRefused:
            continue
        assert target.scheme in ("http", "https")
        assert 0 < target.port < 65536
        assert not set(target.host) & set("@/\\?#[] \t\r\n%")
        assert target.path.startswith(b"/")
        assert not set(target.path) & set(b" \r\n\\")
        # Written out again it is the same place: there is one reading.
        assert parse_url(f"{target.scheme}://{target.authority}{target.path.decode()}") == target


@pytest.mark.parametrize(
    ("location", "lands"),
    [
        ("/new.png", "http pictures.example:81 /new.png"),
        ("new.png?x", "http pictures.example:81 /a/new.png?x"),
        ("//other.example/x", "http other.example /x"),
        ("https://other.example/x#y", "https other.example /x"),
        ("../../x", "http pictures.example:81 /x"),
        ("", "http pictures.example:81 /a/owl.png"),
    ],
)
def test_a_redirect_is_read_relative_to_where_it_stands(location: str, lands: str) -> None:
    target = parse_url("http://pictures.example:81/a/owl.png").redirected(location)
    assert f"{target.scheme} {target.authority} {target.path.decode()}" == lands


@pytest.mark.parametrize(
    "location", ["ftp://a/", "file:///x", "//u:p@a/", "\\\\a\\b", "//127.1/", "http://[", "a\nb", "//a:0/"]
)
def test_a_redirect_is_held_to_the_same_rules(location: str) -> None:
    with pytest.raises(AddressRefused):
        parse_url("http://pictures.example/").redirected(location)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.255.255.255", "private"),
        ("100.64.0.1", "shared"),
        ("100.100.100.200", "shared"),  # Alibaba Cloud's metadata
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("168.63.129.16", "metadata"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.192", "reserved"),
        ("192.0.2.1", "documentation"),
        ("192.88.99.1", "reserved"),
        ("192.168.1.1", "private"),
        ("198.18.0.1", "benchmarking"),
        ("198.51.100.1", "documentation"),
        ("203.0.113.1", "documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "metadata"),
        ("::127.0.0.1", "reserved"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b:1::808:808", "reserved"),
        ("100::1", "reserved"),
        ("2001::1", "reserved"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "reserved"),  # Teredo
        ("2001:db8::1", "documentation"),
        ("2002:7f00:1::", "6to4"),
        ("2002:808:808::1", "6to4"),
        ("2606:4700::5efe:7f00:1", "ISATAP"),
        ("3fff::1", "documentation"),
        ("4000::1", "reserved"),
        ("5f00::1", "reserved"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),  # Amazon's metadata
        ("fd20:ce::254", "private"),  # Google's
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("2606:4700::1%eth0", "link-local"),
        ("fec0::1", "reserved"),
        ("ff02::1", "multicast"),
    ],
)
def test_what_is_not_public_is_named(address: str, kind: str) -> None:
    assert kind in (kind_of_address(ipaddress.ip_address(address)) or "")
    with pytest.raises(AddressRefused, match="only public ones") as caught:
        AddressRules().allowed("pictures.example", [address])
    assert caught.value.reason.startswith("pictures.example has a")


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "128.0.0.1", "168.63.129.17"),
        *("172.15.255.255", "172.32.0.0", "192.0.1.1", "192.169.0.0", "198.20.0.0", "223.255.255.255"),
        *("2606:4700::1111", "2a00:1450:4001:82b::200e", "2001:4860:4860::8888", "::ffff:1.1.1.1", "64:ff9b::101:101"),
    ],
)
def test_what_is_public_passes(address: str) -> None:
    assert kind_of_address(ipaddress.ip_address(address)) is None
    assert AddressRules().allowed("pictures.example", [address]) == [address.removeprefix("::ffff:")]


@given(st.ip_addresses())
def test_python_s_own_idea_of_private_is_never_looser(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    holds_another = address.version == 6 and any(
        address in ipaddress.ip_network(net) for net in ("::ffff:0:0/96", "64:ff9b::/96")
    )
    special = (
        address.is_private
        or address.is_multicast
        or address.is_reserved
        or address.is_loopback
        or address.is_link_local
    )
    if special and not holds_another:
        assert kind_of_address(address) is not None


def test_an_answer_that_mixes_public_and_private_is_refused_whole() -> None:
    with pytest.raises(AddressRefused, match="a private address"):
        AddressRules().allowed("pictures.example", ["1.1.1.1", "10.0.0.1"])


@pytest.mark.parametrize("answers", [[], ["pictures.example"], ["1.1.1.1", ""], ["0x7f000001"]])
def test_answers_that_are_no_addresses_are_refused(answers: list[str]) -> None:
    with pytest.raises(AddressRefused):
        AddressRules().allowed("pictures.example", answers)


def test_each_address_is_given_once_in_the_order_of_the_answer() -> None:
    answers = ["2606:4700::1", "1.1.1.1", "2606:4700:0::1", "::ffff:1.1.1.1", "1.0.0.1"]
    assert AddressRules().allowed("pictures.example", answers) == ["2606:4700::1", "1.1.1.1", "1.0.0.1"]


def test_the_user_s_own_hosts_and_ranges_pass() -> None:
    rules = AddressRules(["Pictures.LAN.", "10.1.0.0/16", "fd00:1::/64", "192.168.1.7"])
    assert rules.allowed("pictures.lan", ["172.16.0.9"]) == ["172.16.0.9"]
    assert rules.allowed("anything.example", ["10.1.2.3", "fd00:1::5"]) == ["10.1.2.3", "fd00:1::5"]
    assert rules.allowed("anything.example", ["::ffff:192.168.1.7"]) == ["192.168.1.7"]
    for host, address in [("other.lan", "172.16.0.9"), ("x.pictures.lan", "172.16.0.9"), ("a.example", "192.168.1.8")]:
        with pytest.raises(AddressRefused):
            rules.allowed(host, [address])


@pytest.mark.parametrize(
    ("private", "message"),
    [
        ("127.0.0.0/8", "is a list"),
        (["10.1.2.3/16"], "'10.1.0.0/16'"),
        (["http://pictures.lan"], "scheme, port and path are left out"),
        (["pictures.lan:8080"], "scheme, port and path are left out"),
        (["*.lan"], "neither a host name"),
        ([""], "neither a host name"),
        (["127.1"], "neither a host name"),
    ],
)
def test_an_entry_that_means_nothing_is_the_caller_s_mistake(private: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AddressRules(private)
