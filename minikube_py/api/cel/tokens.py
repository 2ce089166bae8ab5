"""From text to tokens: the lexical rules of the CEL language definition."""

import re
from typing import Final, NamedTuple

from minikube_py.api.cel import literals
from minikube_py.api.cel.errors import Issue
from minikube_py.api.cel.values import Uint

EOF: Final = "<EOF>"
RESERVED: Final = frozenset(
    re.findall(
        r"\w+",
        "as break const continue else for function if import let loop package namespace return"
        " var void while",
    )
)
"""Words that are no identifiers, though they may be names of fields."""
_WORDS: Final = {"true": True, "false": False, "null": None}
_STRING: Final = (
    r'(?P<string>[rR]?[bB]?[rR]?(?:"""(?:[^\\]|\\.)*?"""'
    r"|'''(?:[^\\]|\\.)*?'''"
    r'|"(?:[^"\\\n\r]|\\.)*"'
    r"|'(?:[^'\\\n\r]|\\.)*'))"
)
_RAW: Final = (
    r"(?P<raw>(?:[rR][bB]?|[bB][rR])(?:\"\"\".*?\"\"\"|'''.*?'''|\"[^\"\n\r]*\"|'[^'\n\r]*'))"
)
_TOKENS: Final = (
    r"(?P<space>[ \t\r\n\f]+|//[^\n]*)",
    r"(?P<float>(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?))",
    r"(?P<uint>(?:0x[0-9a-fA-F]+|\d+)[uU])",
    r"(?P<int>0x[0-9a-fA-F]+|\d+)",
    _RAW,
    _STRING,
    r"(?P<word>[A-Za-z_][A-Za-z0-9_]*)",
    r"(?P<quoted>`[A-Za-z0-9_.\-/ ]+`)",
    r"(?P<symbol>==|!=|<=|>=|&&|\|\||[\[\]{}().,:?<>+\-*/%!])",
)
_TOKEN: Final = re.compile("|".join(_TOKENS), re.ASCII | re.DOTALL)


class Token(NamedTuple):
    """A token: `kind` is the symbol itself, or constant, word, quoted, EOF."""

    kind: str
    text: str
    offset: int
    value: object = None


def scan(text: str) -> tuple[list[Token], list[Issue]]:
    """Split the text; the last token is EOF. What starts no token is passed over and told."""
    tokens: list[Token] = []
    issues: list[Issue] = []
    offset = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            bad = _unrecognized(text, offset)
            shown = bad.translate(_INVISIBLE)
            message = f"Syntax error: token recognition error at: '{shown}'"
            issues.append(Issue(offset, message))
            offset += len(bad)
            continue
        if match.lastgroup != "space":
            tokens.append(_token(match.lastgroup or "", match[0], offset, issues))
        offset = match.end()
    tokens.append(Token(EOF, EOF, len(text)))
    return tokens, issues


_INVISIBLE: Final = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
_UNFINISHED: Final = re.compile(
    r"""[|&=].?|["'](?:[^\\\n\r]|\\.)*.?|`[A-Za-z0-9_.\-/ ]*.?|.""", re.DOTALL
)
"""How far upstream's lexer reads before it sees that there is no such token."""


def _unrecognized(text: str, offset: int) -> str:
    match = _UNFINISHED.match(text, offset)
    return match[0] if match else text[offset]


def _token(group: str, text: str, offset: int, issues: list[Issue]) -> Token:
    if group == "symbol" or text == "in":
        return Token(text, text, offset)
    if group == "word" and text not in _WORDS:
        return Token("word", text, offset)
    if group == "quoted":
        return Token("quoted", text, offset, text[1:-1])
    try:
        value = _constant(group, text)
    except ValueError as error:
        issues.append(Issue(offset, str(error)))
        value = None
    return Token("constant", text, offset, value)


def _constant(group: str, text: str) -> object:
    if group == "word":
        return _WORDS[text]
    if group == "float":
        return float(text)
    if group == "int":
        return int(text, 0) if "x" in text else int(text)
    if group == "uint":
        number = int(text[:-1], 16 if "x" in text else 10)
        if number >= 1 << 64:
            raise ValueError("invalid uint literal")
        return Uint(number)
    return literals.parse(text)
