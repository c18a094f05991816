"""Places on a command line: a path, or an address, which click's own paths would break."""

import click

from cache_schema.errors import ConfigError
from cache_schema.place import Place, to_place

__all__ = ["PLACE", "PlaceType"]


class PlaceType(click.ParamType[Place]):
    """See ``Place``."""

    name = "place"

    def convert(
        self,
        value: str | Place,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Place:
        """Return the place that was typed."""
        try:
            return to_place(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return what stands for the value in the help."""
        return "STORE"


PLACE = PlaceType()
