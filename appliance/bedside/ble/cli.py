"""The commands of this room: `bedside decode`."""

from __future__ import annotations

import json
import sys
from typing import NoReturn

import click


@click.command()
@click.argument("uuid")
@click.argument("hex_bytes", metavar="HEX")
def decode(uuid: str, hex_bytes: str) -> None:
    """Say what a wearable's packet means.

    UUID is the characteristic, as a 16-bit number (2A37) or whole; HEX are the packet's bytes, with or without
    spaces, colons or dashes. Prints one JSON object; a packet that is not what its characteristic promises is
    refused in one line that names the field.

    \b
    bedside decode 2A37 "16 48 e8 03"
    bedside decode 2A5F 0061004800
    """
    from bedside.ble.characteristics import CHARACTERISTICS, full_uuid
    from bedside.ble.characteristics import decode as decode_fields
    from bedside.core.errors import DecodeError

    try:
        whole = full_uuid(uuid)
    except ValueError:
        _refuse(f"{uuid}: UUID: expected a 16-bit number such as 2A37, or a whole UUID")
    name = CHARACTERISTICS[whole].name if whole in CHARACTERISTICS else whole
    try:
        payload = bytes.fromhex(hex_bytes.translate(str.maketrans("", "", " :-\t\n")))
    except ValueError:
        _refuse(f"{name}: HEX: expected pairs of hexadecimal digits")
    try:
        fields = decode_fields(whole, payload)
    except DecodeError as error:
        _refuse(str(error))
    click.echo(json.dumps({"uuid": whole, "name": name, "fields": fields}, allow_nan=False))


def _refuse(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(2)
