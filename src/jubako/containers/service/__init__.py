"""Everything that can be done with containers: what `Engine.containers` is.

The class has a part for each topic; a part only finds the container and hands on to the module that
does the work.
"""

from __future__ import annotations

from jubako.containers.service.files import Files
from jubako.containers.service.looking import Looking
from jubako.containers.service.making import Making
from jubako.containers.service.running import Running


class ContainerService(Making, Running, Looking, Files):
    """The containers of one root.

    A container is named by its name, its ID or an unambiguous prefix of the ID; every method that
    takes such a reference raises NotFound when there is none.
    """
