"""Protobuf's text format: tokens, a parser into a plain tree, and the tree read by the table of messages.

The parser knows no message types, so it accepts fields of any fork; only `read_text` looks at the table. It
keeps its own stack, so that no input can exhaust Python's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from caffe2lrp.converters.caffe.message import Message, Unknown, single
from caffe2lrp.converters.caffe.schema import ENUMS, SCHEMAS, Field, Schema
from caffe2lrp.errors import FileFormatError

MAX_DEPTH = 100
"""Nesting that protobuf itself allows."""
MAX_SIZE = 8 << 20
"""The largest known prototxt files have about 1 MB; this keeps a wrong file from filling the memory."""

# Possessive repeats: there is nothing to backtrack to, and remembering it would cost memory by the character.
_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\n\r\f\v\ufeff]++|\#[^\n]*+)++)
    |(?P<string>"(?:[^"\\\n]++|\\[^\n])*+"|'(?:[^'\\\n]++|\\[^\n])*+')
    |(?P<number>(?:0[xX][0-9a-fA-F]++|(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?[fF]?)(?![\w.]))
    |(?P<name>[^\W\d]\w*+)
    |(?P<extension>\[\s*+[^\W\d][\w./]*+\s*+\](?=\s*+[:{<]))
    |(?P<mark>[{}<>\[\]:,;-])""",
    re.VERBOSE,
)
_CLOSER = {"{": "}", "<": ">"}
_TRUE = frozenset({"true", "True", "t", "1"})
_FALSE = frozenset({"false", "False", "f", "0"})
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{1,3})|(.))")
_SIMPLE_ESCAPES = {"n": 10, "r": 13, "t": 9, "a": 7, "b": 8, "f": 12, "v": 11}


@dataclass(slots=True)
class Token:
    kind: str
    text: str
    line: int
    column: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the file"
        return self.text if len(self.text) <= 40 else self.text[:37] + "..."


@dataclass(slots=True)
class Node:
    """A field of the tree: its name, where it stands, and a scalar (`Token`) or the fields of a message."""

    name: str
    line: int
    column: int
    value: Token | list[Node]


@dataclass(slots=True)
class _Frame:
    """A message being read, and what closes it."""

    fields: list[Node]
    opener: Token | None = None
    list_of: Token | None = None
    """The field's name, where this message is an element of a ``[...]`` list."""


@dataclass
class _Parser:
    text: str
    file: str
    position: int = 0
    line: int = 1
    line_start: int = 0
    ahead: Token | None = None
    stack: list[_Frame] = field(default_factory=list)

    # -- tokens ------------------------------------------------------------------------------------

    def peek(self) -> Token:
        if self.ahead is None:
            self.ahead = self._scan()
        return self.ahead

    def next(self) -> Token:
        token = self.peek()
        self.ahead = None
        return token

    def accept(self, *marks: str) -> Token | None:
        token = self.peek()
        return self.next() if token.kind == "mark" and token.text in marks else None

    def fail(self, token: Token, wanted: str) -> NoReturn:
        raise FileFormatError(f"{self.file}:{token.line}:{token.column}: {wanted}, but here is {token}")

    def _scan(self) -> Token:
        while True:
            match = _TOKEN.match(self.text, self.position)
            column = self.position - self.line_start + 1
            if match is None:
                if self.position >= len(self.text):
                    return Token("end", "", self.line, column)
                self._bad_character(column)
            kind, text = match.lastgroup or "", match.group()
            line = self.line
            newlines = text.count("\n")
            if newlines:
                self.line += newlines
                self.line_start = self.position + text.rindex("\n") + 1
            self.position = match.end()
            if kind != "space":
                return Token(kind, text, line, column)

    def _bad_character(self, column: int) -> NoReturn:
        rest = self.text[self.position : self.position + 20].split("\n")[0]
        if rest[0] in "\"'":
            what = "this string is not closed on its line"
        elif rest[0].isdigit() or rest[0] == ".":
            what = f"'{rest.split()[0]}' is not a number"
        else:
            what = f"the character {rest[0]!r} does not belong in a prototxt"
        raise FileFormatError(f"{self.file}:{self.line}:{column}: {what}")

    # -- grammar -----------------------------------------------------------------------------------

    def parse(self) -> list[Node]:
        root: list[Node] = []
        self.stack = [_Frame(root)]
        while True:
            token = self.next()
            if token.kind == "end" and len(self.stack) == 1:
                return root
            if token.kind == "mark" and token.text in "}>":
                self._close(token)
            else:
                self._field(token)

    def _close(self, token: Token) -> None:
        frame = self.stack[-1]
        if frame.opener is None:
            self.fail(token, "every message is closed already: a field name was expected")
        if token.text != _CLOSER[frame.opener.text]:
            self.fail(token, f"'{_CLOSER[frame.opener.text]}' expected for line {frame.opener.line}")
        self.stack.pop()
        if frame.list_of is not None:
            self._list_rest(frame.list_of)
        else:
            self.accept(",", ";")

    def _field(self, name: Token) -> None:
        if name.kind not in ("name", "extension", "number"):
            opener = self.stack[-1].opener
            closing = f" or '{_CLOSER[opener.text]}' for the message of line {opener.line}" if opener else ""
            self.fail(name, f"expected a field name{closing}")
        colon = self.accept(":")
        if self._open(name):
            return
        if self.accept("["):
            if self.accept("]"):
                self.accept(",", ";")
            else:
                self._list_item(name)
            return
        if colon is None:
            self.fail(self.peek(), f"expected ':' or '{{' after '{name.text}'")
        self._scalar(name)
        self.accept(",", ";")

    def _open(self, name: Token, list_of: Token | None = None) -> bool:
        opener = self.accept("{", "<")
        if opener is None:
            return False
        if len(self.stack) > MAX_DEPTH:
            raise FileFormatError(
                f"{self.file}:{opener.line}:{opener.column}: messages are nested deeper than {MAX_DEPTH} levels"
            )
        fields: list[Node] = []
        self.stack[-1].fields.append(Node(name.text, name.line, name.column, fields))
        self.stack.append(_Frame(fields, opener, list_of))
        return True

    def _list_item(self, name: Token) -> None:
        """One element of a list and, unless it is a message, all that follow it."""
        while not self._open(name, list_of=name):
            self._scalar(name)
            if not self.accept(","):
                self._list_end()
                return

    def _list_rest(self, name: Token) -> None:
        """What follows a message inside a list."""
        if self.accept(","):
            self._list_item(name)
        else:
            self._list_end()

    def _list_end(self) -> None:
        if not self.accept("]"):
            self.fail(self.peek(), "expected ',' or ']' in this list")
        self.accept(",", ";")

    def _scalar(self, name: Token) -> None:
        minus = self.accept("-")
        token = self.next()
        if token.kind == "string" and not minus:
            if self.peek().kind == "string":
                token = self._joined(token)
        elif token.kind not in ("number", "name"):
            self.fail(token, f"expected a value for '{name.text}'")
        if minus:
            token = Token(token.kind, "-" + token.text, minus.line, minus.column)
        self.stack[-1].fields.append(Node(name.text, name.line, name.column, token))

    def _joined(self, first: Token) -> Token:
        """Adjacent strings are one string."""
        parts = [first.text]
        while self.peek().kind == "string":
            parts.append(self.next().text)
        return Token("strings", "\n".join(parts), first.line, first.column)


def parse_text(text: str, file: str) -> list[Node]:
    """Parse protobuf text format into a tree.

    Parameters
    ----------
    text
        The file's content.
    file
        Name of the file, for messages.

    Raises
    ------
    FileFormatError
        ``file:line:column: what was expected``.
    """
    return _Parser(text.replace("\r\n", "\n").replace("\r", "\n"), file).parse()


# -- the tree read by the table --------------------------------------------------------------------


def read_text(text: str, schema: Schema, file: str) -> Message:
    """Read a message in protobuf's text format.

    Parameters
    ----------
    text
        The file's content.
    schema
        Type of the message.
    file
        Name of the file, for messages.

    Raises
    ------
    FileFormatError
        If the text is malformed or a value does not fit its field.
    """
    return _message(parse_text(text, file), schema, 1, file)


def _message(nodes: list[Node], schema: Schema, line: int, file: str) -> Message:
    # The parser has bounded the depth, so recursion is safe here.
    schema = schema.variant(_layer_type(nodes)) if schema.of_type else schema
    message = Message(schema, line)
    for node in nodes:
        known = schema.by_name.get(node.name)
        if known is None:
            message.unknown.append(Unknown(node.name, node.line))
            continue
        if message.has(known.name) and not known.repeated:
            raise FileFormatError(f"{file}:{node.line}:{node.column}: '{node.name}' may be given only once here")
        message.add(known.name, _value(node, known, message, file))
    return message


def _layer_type(nodes: list[Node]) -> str:
    """The type that a layer says it has; nothing where it says it in no readable way."""
    token = next((node.value for node in nodes if node.name == "type" and isinstance(node.value, Token)), None)
    if token is None:
        return ""
    return token.text if token.kind == "name" else _decode(_unquote(token.text))


def _value(node: Node, known: Field, message: Message, file: str) -> Any:
    place = f"{file}:{node.line}:{node.column}"
    if isinstance(node.value, list):
        if not known.is_message:
            raise FileFormatError(f"{place}: '{node.name}' is a value of type {known.type}, not a message in braces")
        return _message(node.value, SCHEMAS[known.type], node.line, file)
    if known.is_message:
        raise FileFormatError(f"{place}: '{node.name}' is a message and needs braces, but here is {node.value}")
    try:
        return _scalar(node.value, known, message)
    except (ValueError, OverflowError):
        raise FileFormatError(f"{place}: '{node.name}' needs {_describe(known)}, but here is {node.value}") from None


def _describe(known: Field) -> str:
    if known.type == "V1LayerType":
        return "a type such as CONVOLUTION (types in quotes belong into the 'layer { }' of newer files)"
    if known.type in ENUMS:
        return f"one of {', '.join(ENUMS[known.type])}"
    if known.name == "type":
        return "a string in quotes (types without quotes belong into the 'layers { }' of older files)"
    return {
        "int": "a whole number",
        "uint": "a whole number that is not negative",
        "bool": "true or false",
        "string": "a string in quotes",
        "bytes": "a string in quotes",
    }.get(known.type, "a number")


def _scalar(token: Token, known: Field, message: Message) -> Any:
    if known.type in ENUMS:
        return _enum(token, known, message)
    if known.type in ("string", "bytes"):
        if token.kind not in ("string", "strings"):
            raise ValueError(token.text)
        raw = _unquote(token.text)
        return raw if known.type == "bytes" else _decode(raw)
    if token.kind in ("string", "strings"):
        raise ValueError(token.text)
    if known.type == "bool":
        return _boolean(token.text)
    if known.type in ("int", "uint"):
        return _integer(token.text, known.type)
    return _float(token.text, known)


def _enum(token: Token, known: Field, message: Message) -> str:
    names = ENUMS[known.type]
    if token.kind == "number":
        number = _integer(token.text, "int")
        return next((name for name, value in names.items() if value == number), str(number))
    if token.kind != "name":
        raise ValueError(token.text)
    if token.text not in names and known.type != "Engine" and known.name != "type":
        message.unknown.append(Unknown(f"{known.name}: {token.text}", token.line))
    return token.text


def _boolean(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(text)


def _integer(text: str, kind: str) -> int:
    digits = text.lstrip("-")
    base = 16 if digits[:2] in ("0x", "0X") else 8 if len(digits) > 1 and digits[0] == "0" else 10
    value = int(digits, base) * (-1 if text.startswith("-") else 1)
    low, high = (0, 1 << 64) if kind == "uint" else (-(1 << 63), 1 << 63)
    if not low <= value < high:
        raise ValueError(text)
    return value


def _float(text: str, known: Field) -> float:
    digits = text.lstrip("-").lower()
    if digits.startswith("0x"):
        value = float(int(digits, 16))
    elif digits in ("inf", "infinity", "nan"):
        value = float(digits)
    else:
        value = float(digits.rstrip("f"))
    if text.startswith("-"):
        value = -value
    return value if known.type in ("double", "doubles") else single(value)


def _unquote(text: str) -> bytes:
    """The bytes that one or more quoted strings mean."""
    out = bytearray()
    for quoted in text.split("\n"):
        body, start = quoted[1:-1], 0
        for match in _ESCAPE.finditer(body):
            out += body[start : match.start()].encode()
            out += _escape(match)
            start = match.end()
        out += body[start:].encode()
    return bytes(out)


def _escape(match: re.Match[str]) -> bytes:
    two, four, eight, octal, other = match.groups()
    if two or octal:
        return bytes([int(two, 16) if two else int(octal, 8) & 255])
    if four or eight:
        return chr(min(int(four or eight, 16), 0x10FFFF)).encode(errors="replace")
    return bytes([_SIMPLE_ESCAPES[other]]) if other in _SIMPLE_ESCAPES else other.encode()


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
