"""HTML put together so that text can never become markup."""

import html
import unicodedata

_VOID = {"br", "meta", "link", "rect", "line", "path"}


class Markup(str):
    """Text that is HTML already. Only `tag` and `join` make it from other text."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Return text as HTML: escaped, and without characters that no page may hold or that turn text around."""
    safe = "".join(
        "�" if unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t" else sign for sign in value
    )
    return Markup(html.escape(safe))


def tag(name: str, /, *children: str | None, **attributes: str | int | None) -> Markup:
    """Return an element. Children that are not Markup are escaped; None is left out, also among attributes.

    An attribute's name loses a trailing underscore (``class_``) and has hyphens for its other ones.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{given}>" if name in ("br", "meta", "link") else f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def join(*children: str | None) -> Markup:
    """Return children one behind the other, escaped unless they are Markup."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else text(child) for child in children if child is not None
        )
    )


def named(name: str, empty: str = "(none)") -> Markup:
    """Return a name that others chose: set apart, so that its direction of writing stays its own."""
    return tag("bdi", name) if name else tag("em", empty)
