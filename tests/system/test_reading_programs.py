"""Mails that went the whole way through Postfix are read by openssl, gpgsm and NSS.

`test_readers.py` has every form and algorithm; here it is what Postfix and the filter together
make of a mail.
"""

from __future__ import annotations

import quopri
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import Commands
from tests.support.postoffice import ALICE, BOB, DAVE, GINA, PostOffice, letter, original
from tests.support.program import Program
from tests.support.readers import Gpgsm, Nss, Openssl, Unreadable
from tests.support.sink import Mail

pytestmark = pytest.mark.system

BODY = "Grüße aus München,\r\n.\r\ndas geht. \r\n\r\n-- \r\nAlice\r\n".encode()
MIME = (
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
)


class _OpensslOfBob:
    """`openssl` with the interface of the other readers."""

    def __init__(self, office: PostOffice) -> None:
        self._openssl: Openssl = office.openssl
        self._bob = office.who(BOB)
        self.verify = self._openssl.verify

    def decrypt(self, mail: bytes) -> bytes:
        return self._openssl.decrypt(mail, self._bob)


@pytest.fixture(params=["openssl", "gpgsm", "nss"])
def reader(
    request: pytest.FixtureRequest, lmtp_office: PostOffice, tmp_path: Path
) -> Iterator[_OpensslOfBob | Gpgsm | Nss]:
    root, bob = lmtp_office.people.root.certificate, lmtp_office.who(BOB)
    if request.param == "gpgsm":
        with Gpgsm.running(root, [bob]) as gpgsm:
            yield gpgsm
    elif request.param == "nss":
        yield Nss(tmp_path, root, [bob])
    else:
        yield _OpensslOfBob(lmtp_office)


def through(office: PostOffice, *to: str) -> Mail:
    """A mail of Alice with everything in it that is easily damaged, as it arrives."""
    content = letter(ALICE, *to, subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?=", body=BODY, more=MIME)
    office.send(ALICE, *to, content=content, params=("BODY=8BITMIME",))
    return office.outcome()[to[0]][0]


def is_the_body(entity: bytes) -> bool:
    """Whether an entity, its text perhaps in quoted-printable, says what Alice wrote."""
    head, _, body = entity.partition(b"\r\n\r\n")
    text = quopri.decodestring(body) if b"quoted-printable" in head else body
    return text.replace(b"\r\n", b"\n") == BODY.replace(b"\r\n", b"\n")


@pytest.fixture(scope="module", autouse=True)
def _alice_signs_all_her_mail(lmtp_filter: Program) -> None:
    Commands(lmtp_filter.config)("policy", "set", ALICE, "sign", "always")
    lmtp_filter.wait_for_event("store reloaded")


def test_a_signed_mail(lmtp_office: PostOffice, reader: _OpensslOfBob | Gpgsm | Nss) -> None:
    mail = original(through(lmtp_office, DAVE))
    assert is_the_body(reader.verify(mail))
    with pytest.raises(Unreadable):
        reader.verify(mail.replace(b"das geht", b"das ging"))


def test_a_signed_and_encrypted_mail(
    lmtp_office: PostOffice, reader: _OpensslOfBob | Gpgsm | Nss
) -> None:
    mail = original(through(lmtp_office, BOB, GINA))
    assert b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=" in mail
    assert is_the_body(reader.verify(reader.decrypt(mail)))


def test_nobody_else_reads_it(lmtp_office: PostOffice) -> None:
    mail = original(through(lmtp_office, BOB))
    with pytest.raises(Unreadable):
        lmtp_office.openssl.decrypt(mail, lmtp_office.who(GINA))
