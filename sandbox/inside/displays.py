"""Pictures that code shows: figures of matplotlib, images, and whatever draws itself as PNG."""

import io
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from sandbox.inside.fonts import add_fallback
from sandbox.inside.limits import MOST_IMAGES

_PYPLOT = "matplotlib.pyplot"


class Displays:
    """`images` are PNGs, in the order in which they were shown, MOST_IMAGES and in all `room` bytes at most."""

    def __init__(self, room: int) -> None:
        self._room = room
        self.images: list[bytes] = []
        sys.meta_path.insert(0, _OnImport(self))
        self._hook()  # it may be preloaded

    def clear(self) -> None:
        self.images.clear()

    def display(self, *values: Any, **_: Any) -> None:
        """What notebooks call `display`."""
        for value in values:
            if not self.take(value):
                sys.stdout.write(f"{value!r}\n")

    def take(self, value: Any) -> bool:
        """Keep the value's picture; False if it has none."""
        if callable(getattr(value, "savefig", None)):
            drawn = io.BytesIO()
            value.savefig(drawn, format="png", bbox_inches="tight")
            self._add(drawn.getvalue())
            self._close(value)
            return True
        draw = getattr(value, "_repr_png_", None)
        drawn_itself = draw() if callable(draw) else None
        if isinstance(drawn_itself, bytes):
            self._add(drawn_itself)
        return isinstance(drawn_itself, bytes)

    def show_figures(self) -> None:
        """Take every open figure, as a notebook does at the end of a cell, and at `show()`."""
        pyplot: Any = sys.modules.get(_PYPLOT)
        if pyplot is None:
            return
        for number in pyplot.get_fignums():
            self.take(pyplot.figure(number))
        pyplot.close("all")

    def _add(self, image: bytes) -> None:
        if len(self.images) < MOST_IMAGES and sum(map(len, self.images)) + len(image) <= self._room:
            self.images.append(image)
        else:
            sys.stderr.write(f"An image of {len(image)} bytes is left out: there is no more room.\n")

    def _close(self, figure: Any) -> None:
        pyplot: Any = sys.modules.get(_PYPLOT)
        if pyplot is not None and getattr(figure, "number", None) in pyplot.get_fignums():
            pyplot.close(figure)

    def _hook(self) -> None:
        pyplot: Any = sys.modules.get(_PYPLOT)
        if pyplot is not None:
            pyplot.show = lambda *_, **__: self.show_figures()  # a plain function: pyplot gives it a signature
            add_fallback()


class _OnImport(MetaPathFinder):
    """Replaces pyplot's `show` as soon as it is imported."""

    def __init__(self, displays: Displays) -> None:
        self._displays = displays

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != _PYPLOT:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec and spec.loader:
            spec.loader = _Hooking(spec.loader, self._displays)
        return spec


class _Hooking(Loader):
    def __init__(self, loader: Loader, displays: Displays) -> None:
        self._loader = loader
        self._displays = displays

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._displays._hook()
