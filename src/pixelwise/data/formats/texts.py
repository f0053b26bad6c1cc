"""The text of annotation files, whichever program or system wrote it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.data.listing import counted, encoding_of, some
from pixelwise.errors import UserError

_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_HAN = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_HEAD = 1 << 16


@dataclass(slots=True)
class Encodings:
    """The files that were not UTF-8, and how they were read: encoding -> file -> a word that shows whether it fits."""

    guessed: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def read(self, file: Path, name: str) -> str:
        """The text of a file: by its byte order mark, else as UTF-8 or UTF-16, else by the look of its letters.

        Args:
            name: the name of the file in `guesses`.

        Raises:
            UserError: the file is not text.
        """
        content = file.read_bytes()
        encoding = encoding_of(content)
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            if encoding != "utf-8":
                raise _no_text(file, encoding, error) from None
            unreadable = _no_text(file, encoding, error)
        if _is_damaged_utf8(content):
            raise unreadable
        encoding = "gb18030" if _looks_chinese(content) else "cp1252"
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            raise unreadable from None
        self.guessed[encoding][name] = re.findall(r"\w*[^\x00-\x7f]+\w*", text)[0]
        return text

    def guesses(self) -> list[str]:
        """A sentence for each encoding that was guessed."""
        return [
            f"{counted(len(words), 'file is', 'files are')} not UTF-8 and read as {encoding}, in which a word of "
            f"{next(iter(words))} is '{next(iter(words.values()))}' ({some(list(words), 3)}); if that is not a word, "
            "save the files again as UTF-8."
            for encoding, words in self.guessed.items()
        ]


def _is_damaged_utf8(content: bytes) -> bool:
    """Whether most bytes beyond ASCII form characters of UTF-8; in other encodings, some do by chance."""
    beyond = sum(byte > 127 for byte in content)
    fitting = "".join(_NOT_ASCII.findall(content.decode("utf-8", "ignore")))
    return len(fitting.encode()) > 0.75 * beyond


def _looks_chinese(content: bytes) -> bool:
    """Whether the bytes are GB18030 and give Chinese characters, most of which neither end in the byte of a Latin
    letter nor are between two Latin letters.

    Two bytes make a character. If the text were Western, a lone accented letter and the Latin letter after it would
    become one Chinese character, and two accented letters would become one in the middle of a word.
    """
    try:
        text = content.decode("gb18030")
    except UnicodeDecodeError:
        return False
    han = "".join(_HAN.findall(text))
    eaten = sum(character.encode("gb18030")[-1:].isalpha() for character in han)
    amid = len(re.findall(r"[A-Za-z][^\x00-\x7f][A-Za-z]", text))
    return han == "".join(_NOT_ASCII.findall(text)) and 2 * (eaten + amid) < len(han)


def _no_text(file: Path, encoding: str, error: UnicodeDecodeError) -> UserError:
    return UserError(
        f"{file}: not {encoding.upper().removesuffix('-SIG')} text (byte {error.start} does not fit), as after a "
        "damaged copy; save or export it again as UTF-8."
    )


def head(file: Path) -> str:
    """The first 64 KB of a file as text, with replacement characters for bytes that are not text."""
    with file.open("rb") as stream:
        content = stream.read(_HEAD)
    return content.decode(encoding_of(content), "replace")


def files_with(files: Iterable[Path], keys: Iterable[str]) -> list[Path]:
    """The JSON files that contain one of these keys."""
    quoted = [f'"{key}"' for key in keys]
    wanted = [key.encode(encoding) for key in quoted for encoding in ("ascii", *_WIDE)]
    return [file for file in files if any(key in content for content in (file.read_bytes(),) for key in wanted)]


def read_json(file: Path, name: str, encodings: Encodings) -> Any:
    """The content of a JSON file.

    Args:
        name: the name of the file in the sentences of `encodings`, which decodes it.

    Raises:
        UserError: the file is not text, or not JSON.
    """
    text = encodings.read(file, name)
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{file}: not JSON ({error.msg}, line {error.lineno}, column {error.colno}), as after an interrupted copy; "
            "export the annotations again."
        ) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, endlessly nested lists
        raise UserError(f"{file}: cannot be read as JSON ({error}); export the annotations again.") from None
