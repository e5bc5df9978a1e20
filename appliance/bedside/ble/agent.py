"""Our own pairing agent for BlueZ (`org.bluez.Agent1`): without one BlueZ refuses every bond, or hangs on a read.

The agent is there only while a bond is being made, and answers only about the wearable that is being paired: a
stranger's request at any other time meets nobody, which BlueZ takes for a no. It takes calls from the owner of
`org.bluez` alone. What it is asked goes to an `Asker`; its methods are those of BlueZ's doc/agent-api.txt.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from dbus_fast import ErrorType, Message, MessageType
from dbus_fast.aio import MessageBus

from bedside.ble.bonding import Asker

logger = logging.getLogger(__name__)

INTERFACE = "org.bluez.Agent1"
PATH = "/org/bedside/agent"
CAPABILITY = "KeyboardDisplay"  # a screen and a keyboard: numeric comparison, passkey either way, just works
REJECTED = "org.bluez.Error.Rejected"
CANCELED = "org.bluez.Error.Canceled"


class Agent:
    """Answers BlueZ about one device (its D-Bus path) for `asker`. `asked`: a number was compared or typed."""

    def __init__(self, bus: MessageBus, owner: str, device: str, asker: Asker) -> None:
        self.asked = False
        self._bus = bus
        self._owner = owner
        self._device = device
        self._asker = asker
        self._tasks: set[asyncio.Task[None]] = set()

    def handle(self, message: Message) -> Message | bool | None:
        """A handler for `MessageBus.add_message_handler`: None for what is not ours."""
        if message.message_type is not MessageType.METHOD_CALL or message.path != PATH:
            return None
        if message.interface != INTERFACE:
            return None
        if message.sender != self._owner:
            return Message.new_error(message, ErrorType.ACCESS_DENIED.value, "only BlueZ may ask")
        task = asyncio.ensure_future(self._reply(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _reply(self, message: Message) -> None:
        try:
            reply = await self._answer(message)
        except Exception as error:
            logger.exception("agent failed", extra={"method": message.member})
            reply = Message.new_error(message, REJECTED, type(error).__name__)
        self._bus.send(reply)

    async def _answer(self, message: Message) -> Message:
        body: list[Any] = message.body
        member = message.member
        if member in ("Release", "Cancel"):
            for task in self._tasks - {asyncio.current_task()}:  # what waits for an answer need not any more
                task.cancel()
            return Message.new_method_return(message)
        if not body or body[0] != self._device:
            return Message.new_error(message, REJECTED, "another device")
        match member:
            case "RequestConfirmation":
                self.asked = True
                yes = await self._asker.numbers(f"{body[1]:06d}")
                return Message.new_method_return(message) if yes else Message.new_error(message, REJECTED, "no")
            case "RequestPasskey":
                self.asked = True
                number = await self._asker.passkey()
                if number is None:
                    return Message.new_error(message, CANCELED, "nobody says")
                return Message.new_method_return(message, "u", [number])
            case "DisplayPasskey":
                self.asked = True
                self._asker.show(f"{body[1]:06d}")
                return Message.new_method_return(message)
            case "RequestAuthorization":  # just works: somebody began this pairing on purpose, so yes
                return Message.new_method_return(message)
            case _:  # PIN codes are of classic Bluetooth; AuthorizeService is no part of pairing
                return Message.new_error(message, REJECTED, "not offered")

    def close(self) -> None:
        """End what still waits."""
        for task in tuple(self._tasks):
            task.cancel()
