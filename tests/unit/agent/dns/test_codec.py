"""Messages are what another implementation of DNS reads and writes."""

import contextlib

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.dns import codec
from minikube_py.agent.dns.codec import Answer, FormatError, Record

LABEL = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789-_", min_size=1, max_size=20)
NAME = st.lists(LABEL, min_size=1, max_size=8)
KINDS = st.sampled_from([codec.A, codec.AAAA, codec.SRV, codec.PTR, codec.TXT, 65])


def question(name: str, kind: int = codec.A, number: int = 7, size: int = 0) -> bytes:
    record = dnslib.DNSRecord(dnslib.DNSHeader(id=number, rd=1), q=dnslib.DNSQuestion(name, kind))
    if size:
        record.add_ar(dnslib.EDNS0(udp_len=size))
    return bytes(record.pack())


@given(name=NAME, kind=KINDS, number=st.integers(0, 65535), size=st.sampled_from([0, 512, 4096]))
def test_a_question_is_read_as_it_was_asked(
    name: list[str], kind: int, number: int, size: int
) -> None:
    query = codec.read_query(question(".".join(name), kind, number, size))
    assert query.labels == tuple(label.lower() for label in name)
    assert (query.id, query.type, query.qclass) == (number, kind, codec.IN)
    assert query.edns is bool(size)
    assert query.limit == (codec.PLAIN_MAX if size in (0, 512) else codec.EDNS_MAX)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_question_or_a_format_error(data: bytes) -> None:
    try:
        codec.read_query(data)
    except FormatError:
        return
    assert len(data) > codec.HEADER_BYTES


@given(name=NAME, addresses=st.lists(st.ip_addresses(), max_size=5))
def test_an_answer_is_read_by_others_with_the_capitals_of_the_question(
    name: list[str], addresses: list[object]
) -> None:
    query = codec.read_query(question(".".join(name), size=4096))
    records = tuple(codec.address_record(query.labels, str(a), 5) for a in addresses)
    reply = dnslib.DNSRecord.parse(codec.write_answer(query, Answer(records=records), 1232))
    assert reply.header.id == 7
    assert (reply.header.aa, reply.header.ra, reply.header.rd, reply.header.tc) == (1, 1, 1, 0)
    assert str(reply.q.qname) == ".".join(name) + "."
    assert [str(rr.rdata) for rr in reply.rr] == [
        str(dnslib.AAAA(str(a)) if ":" in str(a) else dnslib.A(str(a))) for a in addresses
    ]
    assert reply.ar[0].rtype == codec.OPT


def test_records_of_all_kinds_are_read_by_others() -> None:
    query = codec.read_query(question("web.shop.svc.cluster.local"))
    target = ("db-0", "db", "shop", "svc", "cluster", "local")
    records = (
        Record(query.labels, codec.SRV, 5, codec.srv_data(8080, target, 50)),
        Record(("other", "name"), codec.CNAME, 5, codec.name_bytes(target)),
        Record(query.labels, codec.TXT, 5, codec.text_data("1.1.0")),
        Record(("local",), codec.SOA, 5, codec.soa_data(("ns",), ("mail",), 1, 5)),
    )
    reply = dnslib.DNSRecord.parse(codec.write_answer(query, Answer(records=records), 1232))
    assert str(reply.rr[0].rdata) == "0 50 8080 db-0.db.shop.svc.cluster.local."
    assert str(reply.rr[1].rname) == "other.name."
    assert str(reply.rr[1].rdata) == "db-0.db.shop.svc.cluster.local."
    assert str(reply.rr[2].rdata) == '"1.1.0"'
    assert str(reply.rr[3].rdata).startswith("ns. mail. 1 ")


@given(count=st.integers(0, 200), size=st.sampled_from([0, 1232]))
def test_an_answer_is_cut_to_what_the_client_takes_and_says_so(count: int, size: int) -> None:
    query = codec.read_query(question("db.shop.svc.cluster.local", size=size))
    records = tuple(codec.address_record(query.labels, f"10.42.0.{n}", 5) for n in range(count))
    extra = (codec.address_record(("x",), "10.0.0.1", 5),)
    message = codec.write_answer(query, Answer(records=records, additional=extra), query.limit)
    assert len(message) <= query.limit
    reply = dnslib.DNSRecord.parse(message)
    assert (len(reply.rr) < count) == bool(reply.header.tc)
    assert len(reply.rr) == count or not [rr for rr in reply.ar if rr.rtype != codec.OPT]


def test_records_of_others_are_found_through_their_pointers() -> None:
    reply = dnslib.DNSRecord.question("a.example.com").reply()
    reply.add_answer(*dnslib.RR.fromZone("a.example.com 60 CNAME b.example.com"))
    reply.add_answer(*dnslib.RR.fromZone("b.example.com 30 A 192.0.2.5"))
    message = reply.pack()
    cname, address = codec.read_records(message)
    assert (cname.type, cname.ttl, cname.section) == (codec.CNAME, 60, 0)
    assert codec.read_name(message, cname.data_at)[0] == ("b", "example", "com")
    assert address.labels == ("b", "example", "com")
    assert message[address.data_at : address.data_end] == bytes([192, 0, 2, 5])


@pytest.mark.parametrize(
    "message",
    [
        b"",
        question("a.example")[:-1],
        question("a.example")[:12] + b"\xc0\x0c\x00\x01\x00\x01",  # a pointer to itself
        question("a.example")[:2] + b"\x80" + question("a.example")[3:],  # an answer
        question("a.example")[:4] + b"\x00\x02" + question("a.example")[6:],
    ],
)
def test_what_is_no_question_is_refused(message: bytes) -> None:
    with pytest.raises(FormatError):
        codec.read_query(message)


@given(st.binary(max_size=80))
def test_any_bytes_are_records_or_a_format_error(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        list(codec.read_records(data))
