"""Answer: what a verb found or did, as a document and for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from maintenance.documents import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a verb found or did: as a document, and for a person."""

    document: Document
    show: Callable[[Console], None]

    @classmethod
    def saying(cls, document: Document, sentence: str) -> Answer:
        """An answer that a sentence tells in full; no markup is looked for in it."""
        return cls(document=document, show=lambda console: console.print(sentence, markup=False, soft_wrap=True))
