"""Judges that kill the process that they are in, for tests of what survives it."""

import os
import signal

from germane.judges import Fake
from germane.scales import get
from germane.types import InputError


class Fragile(Fake):
    """A fake that kills its own process when it reads "product 700": once, as the marker file says, or always."""

    block = 64

    def __init__(self, marker, deadly):
        super().__init__(get("esci"))
        self.marker, self.deadly = marker, deadly

    def label(self, pairs):
        texts = pairs["text"].to_pylist()
        if "product 700" in texts and (self.deadly or not os.path.exists(self.marker)):
            if self.marker:
                open(self.marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if "product 3" in texts and len(texts) > 1:
            raise RuntimeError("one by one, please")
        return super().label(pairs)


def fragile(marker=None, deadly=False):
    return Fragile(marker, deadly)


def nothing():
    raise InputError("there is no judge here")
