"""Who can connect to the ports of a sweep: nobody without the certificate that only its own processes hold."""

import os
import socket
import ssl
from pathlib import Path

import pytest

from rnneval.sweeps.cluster import Workers, connected

LOOPBACK = "0100007F"


def listening(processes):
    """Every port that one of the processes listens on, with the address, as the kernel tells it."""
    sockets = set()
    for process in processes:
        for link in Path(f"/proc/{process}/fd").iterdir():
            try:
                target = str(link.readlink())
            except OSError:  # closed meanwhile
                continue
            if target.startswith("socket:["):
                sockets.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                address, _, port = fields[1].partition(":")
                found.add((address, int(port, 16)))
    return found


def family(process):
    """The process and all below it."""
    children = [
        child for task in Path(f"/proc/{process}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return [process, *(each for child in children for each in family(int(child)))]


def dials(port, *, secure):
    """What a client without a certificate hears when it says hello: nothing, or the answer to a call of Dask's."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        channel = plain
        try:
            if secure:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                channel = context.wrap_socket(plain)
            with channel:
                channel.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return channel.recv(1000)
        except (ssl.SSLError, ConnectionError, TimeoutError):
            return b""


@pytest.fixture(scope="module")
def ports():
    with connected(Workers(jobs=1), tasks=1) as pool:
        yield pool, listening(family(os.getpid()))


def test_every_port_is_of_the_loopback(ports):
    _, found = ports
    assert len(found) >= 3  # scheduler, nanny, worker
    assert {address for address, _ in found} == {LOOPBACK}


@pytest.mark.parametrize("secure", [False, True])
def test_no_port_answers_a_client_without_a_certificate(ports, secure):
    _, found = ports
    heard = {port: dials(port, secure=secure) for _, port in found}
    # A server of pages may say that it has none; no protocol of Dask's says anything.
    assert [answer for answer in heard.values() if answer and not answer.startswith(b"HTTP/1.1 404")] == []


def test_the_address_is_of_tls(ports):
    pool, found = ports
    address = pool._client.scheduler.address
    assert address.startswith("tls://127.0.0.1:")
    assert (LOOPBACK, int(address.rpartition(":")[2])) in found
