"""What every command has: options that are given once, and help that names the use case's key."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand

# In a metavar, a help text or an epilog: the use case's join key, in capitals and as it is.
KEY_IN_CAPITALS, KEY = "{KEY}", "{key}"


class Command(TyperCommand):
    """A command that refuses an option that is given twice, unless the option is a list, and text
    that isn't UTF-8."""

    # Typer's type for a context isn't public.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments after the command's name. Raises UsageError."""
        self._name_the_key()
        _, _, order = self.make_parser(ctx).parse_args(list(args))
        for parameter, count in Counter(order).items():
            repeatable = parameter.multiple or parameter.is_eager  # such as `--help`
            if parameter.param_type_name == "option" and count > 1 and not repeatable:
                name = max(parameter.opts, key=len)
                ctx.fail(f"{name} is given {count} times; give it once.")
        rest = super().parse_args(ctx, args)
        for name, value in ctx.params.items():
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and not text.isascii() and not _is_utf8(text):
                    ctx.fail(f"The value of {name} isn't text in UTF-8: {text!r}.")
        return rest

    def _name_the_key(self) -> None:
        texts: list[tuple[object, str]] = [(self, "help"), (self, "epilog")]
        texts += [(one, name) for one in self.params for name in ("metavar", "help")]
        for holder, name in texts:
            text = getattr(holder, name, None)
            if text and (KEY in text or KEY_IN_CAPITALS in text):
                key = _join_key()
                text = text.replace(KEY_IN_CAPITALS, key.upper()).replace(KEY, key)
                setattr(holder, name, text)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _join_key() -> str:
    """The use case's join key; `id` if it can't be loaded, as help needs no use case."""
    from streamflow.settings import load_settings
    from streamflow.use_case.module import load_use_case

    try:
        return load_use_case(load_settings().use_case).join_key
    except Exception:  # a use case is a team's own code, which may raise anything
        return "id"
