"""SOAP 1.1 as far as it is needed: one element in a body, sent and read.

What is read comes from elsewhere: no document type, so no entities; a bounded depth and number
of elements, in text that is UTF-8. Names are taken without their namespace. Leaves what the
elements mean to `epki.py`. W3C Note SOAP 1.1, XML 1.0.

Raises `BadXml` for what is no such answer, `Fault` for an error of the service as SOAP has it.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Final

ENVELOPE: Final = "http://schemas.xmlsoap.org/soap/envelope/"
DEEPEST: Final = 32
MOST_ELEMENTS: Final = 20_000
_DECLARES: Final = re.compile(r"<!\s*(DOCTYPE|ENTITY|ELEMENT|ATTLIST|NOTATION)", re.IGNORECASE)
_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Fields = dict[str, "str | bool | int | Fields"]


class BadXml(ValueError):
    """Not an answer in SOAP; says why."""


class Fault(Exception):
    """What SOAP says when the service could not do something, in the service's own words."""


def envelope(operation: str, namespace: str, fields: Fields) -> bytes:
    """A request: an operation and what is in it, in this order. Empty texts are left out."""
    ET.register_namespace("soap", ENVELOPE)
    root = ET.Element(f"{{{ENVELOPE}}}Envelope")
    body = ET.SubElement(root, f"{{{ENVELOPE}}}Body")
    _add(ET.SubElement(body, f"{{{namespace}}}{operation}"), namespace, fields)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def read(content: bytes) -> ET.Element:
    """The element in the body of an answer. Raises `BadXml`, `Fault`."""
    root = _parsed(content)
    body = child(root, "Body")
    if root.tag != "Envelope" or body is None or len(body) != 1:
        raise BadXml("not a SOAP answer")
    found = body[0]
    if found.tag == "Fault":
        raise Fault(text(found, "faultstring"))
    return found


def child(element: ET.Element | None, *names: str) -> ET.Element | None:
    """An element within, by the names on the way; None where there is none."""
    for name in names:
        element = element.find(name) if element is not None else None
    return element


def text(element: ET.Element | None, *names: str) -> str:
    """The text of an element within, without blanks around it; empty where there is none."""
    found = child(element, *names)
    return (found.text or "").strip() if found is not None else ""


def _add(element: ET.Element, namespace: str, fields: Fields) -> None:
    for name, value in fields.items():
        if value == "":
            continue
        within = ET.SubElement(element, f"{{{namespace}}}{name}")
        match value:
            case dict():
                _add(within, namespace, value)
            case bool():
                within.text = str(value).lower()
            case _:  # what XML cannot carry is left out rather than spoil the whole
                within.text = _NOT_XML.sub("", str(value))


class _Bounded(ET.TreeBuilder):
    def __init__(self) -> None:
        super().__init__()
        self._depth = self._number = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> ET.Element:
        self._depth += 1
        self._number += 1
        if self._depth > DEEPEST or self._number > MOST_ELEMENTS:
            raise BadXml("too many elements, or too deep in one another")
        return super().start(tag.rpartition("}")[2], attrs)

    def end(self, tag: str, /) -> ET.Element:
        self._depth -= 1
        return super().end(tag.rpartition("}")[2])

    def doctype(self, *_: object) -> None:
        raise BadXml("it declares a document type")


def _parsed(content: bytes) -> ET.Element:
    try:
        plain = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadXml("not UTF-8") from None
    if _DECLARES.search(plain):
        raise BadXml("it declares a document type")
    parser = ET.XMLParser(target=_Bounded())  # noqa: S314 - nothing is declared in it
    try:
        parser.feed(plain)  # as text: an encoding that is declared in it counts for nothing
        found = parser.close()
    except ET.ParseError as error:
        raise BadXml(f"not XML: {error}") from None
    assert isinstance(found, ET.Element)
    return found
