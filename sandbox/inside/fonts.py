"""A font for Chinese, Japanese and Korean behind whatever font a chart asks for."""

import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FONT = Path("fonts", "NotoSansCJKsc-Regular.otf")  # of the package mplfonts


def add_fallback() -> None:
    """Have matplotlib draw with it what no other font has. Does nothing where either of them is not there."""
    fonts: Any = sys.modules.get("matplotlib.font_manager")
    package = find_spec("mplfonts")
    if fonts is None or package is None or package.origin is None:
        return
    path = str(Path(package.origin).parent / _FONT)
    with suppress(OSError, AttributeError):
        fonts.fontManager.addfont(path)
        found = fonts.FontManager._find_fonts_by_props
        # In no list of families: programs and styles set those anew.
        fonts.FontManager._find_fonts_by_props = lambda *args, **kwargs: [*found(*args, **kwargs), path]
