"""The embedded default: one box that is gateway, operator and recipient, each with keys of its own.

On a site the recipient is another machine, and a person carries the two public files across; for
`make run` this does it.
"""

from __future__ import annotations

from bedside.network import recipient
from bedside.network.identity import PUBLIC_FILE, Identity, write_public
from bedside.settings import Home


def prepare(home: Home) -> None:
    """Make the box's identity and the recipient's keys where they are missing, and make the two known to each other.

    Call it before `open_sender`. Raises `SetupError`. Safe to call at every start.
    """
    home.recipient.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_public(Identity.load_or_make(home.keys), home.keys / PUBLIC_FILE)
    recipient.add(home.keys / "recipients", recipient.init(home.recipient))
    recipient.trust(home.recipient, home.keys / PUBLIC_FILE)
