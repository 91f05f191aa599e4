# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""systemd over D-Bus: transient units, runtime properties, and the end of the jobs that they cause (org.freedesktop.systemd1(5)).

One connection, made when first needed and again when it broke. Every wait has an end.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

try:
    from jeepney import DBusAddress, MatchRule, MessageType, message_bus, new_method_call
    from jeepney.io.blocking import DBusConnection, open_dbus_connection
    from jeepney.wrappers import DBusErrorResponse, unwrap_msg

    _MISSING: str | None = None
except ImportError as error:
    _MISSING = str(error)

from .core.slice_limits import Property

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
UNIT_EXISTS = "org.freedesktop.systemd1.UnitExists"
NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
_PATH = "/org/freedesktop/systemd1"
_SERVICE = "org.freedesktop.systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"


class BusError(RuntimeError):
    """systemd said no, or could not be asked. ``name`` is the D-Bus error's, or empty."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class SystemdBus:
    """Calls of systemd's manager. ``timeout`` is seconds for one call and its job. Threads take turns."""

    def __init__(self, address: str = SYSTEM_BUS, timeout: float = 10.0) -> None:
        self._address = address
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: DBusConnection | None = None

    def start_transient(self, unit: str, properties: Sequence[Property]) -> None:
        """Make and start a unit that exists until it stops; waits for it. Raises BusError (``UNIT_EXISTS`` when it is there)."""
        self._job(unit, "StartTransientUnit", "ssa(sv)a(sa(sv))", (unit, "fail", _variants(properties), []))

    def start(self, unit: str) -> None:
        """Start a unit, or find it started; waits for it. Raises BusError."""
        self._job(unit, "StartUnit", "ss", (unit, "fail"))

    def stop(self, unit: str) -> None:
        """Stop a unit and what is in it; waits for it. One that is not there is stopped already. Raises BusError."""
        try:
            self._job(unit, "StopUnit", "ss", (unit, "replace"))
        except BusError as error:
            if error.name != NO_SUCH_UNIT:
                raise

    def set_properties(self, unit: str, properties: Sequence[Property]) -> None:
        """Change a unit until the next reboot, at once and without a reload. Raises BusError."""
        self._call(unit, _MANAGER, "SetUnitProperties", "sba(sv)", (unit, True, _variants(properties)))

    def slice_property(self, unit: str, name: str) -> Any:
        """One property of a slice as systemd has it. Raises BusError."""
        body = self._call(unit, "org.freedesktop.DBus.Properties", "Get", "ss", ("org.freedesktop.systemd1.Slice", name), unit_path(unit))
        return body[0][1]

    def close(self) -> None:
        """Give up the connection."""
        with self._lock:
            self._drop()

    def _call(self, unit: str, interface: str, method: str, signature: str, body: tuple[Any, ...], path: str = _PATH) -> tuple[Any, ...]:
        with self._lock:
            return self._exchange(unit, interface, method, signature, body, path)

    def _job(self, unit: str, method: str, signature: str, body: tuple[Any, ...]) -> None:
        with self._lock:
            connection = self._connected()
            removed: deque[Any] = deque()
            # Signals come from systemd's unique name, which the bus alone can compare with its well-known one: no sender here.
            rule = MatchRule(type="signal", interface=_MANAGER, member="JobRemoved", path=_PATH)
            with connection.filter(rule, queue=removed) as queue:
                (job,) = self._exchange(unit, _MANAGER, method, signature, body, _PATH)
                result = self._await_job(unit, method, job, queue)
            if result not in ("done", "skipped"):
                raise BusError(f"{method} {unit}: the job ended with {result!r}")

    def _await_job(self, unit: str, method: str, job: str, queue: deque[Any]) -> str:
        end = time.monotonic() + self._timeout
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise BusError(f"{method} {unit}: the job was not done within {self._timeout:g} s")
            try:
                message = self._connected().recv_until_filtered(queue, timeout=left)
            except (OSError, TimeoutError) as error:
                self._drop()
                raise BusError(f"{method} {unit}: no word of the job: {error or 'timeout'}") from error
            _number, path, _unit, result = message.body
            if path == job:
                return str(result)

    def _exchange(self, unit: str, interface: str, method: str, signature: str, body: tuple[Any, ...], path: str) -> tuple[Any, ...]:
        address = DBusAddress(path, bus_name=_SERVICE, interface=interface) if _MISSING is None else None
        connection = self._connected()
        try:
            reply = connection.send_and_get_reply(new_method_call(address, method, signature, body), timeout=self._timeout)
        except (OSError, TimeoutError) as error:
            self._drop()
            raise BusError(f"{method} {unit}: {error or 'no answer'}") from error
        if reply.header.message_type == MessageType.error:
            failure = DBusErrorResponse(reply)
            text = failure.data[0] if failure.data else failure.name
            raise BusError(f"{method} {unit}: {text}", failure.name)
        return tuple(reply.body)

    def _connected(self) -> DBusConnection:
        """The connection; a new one asks to be told of jobs, which is how their end is known."""
        if _MISSING is not None:
            raise BusError(f"systemd can't be asked: {_MISSING}; the Python package jeepney is needed")
        if self._connection is not None and self._is_closed():
            self._drop()
        if self._connection is None:
            try:
                connection = open_dbus_connection(self._address, auth_timeout=self._timeout)
            except (OSError, ValueError, TimeoutError) as error:
                raise BusError(f"systemd can't be asked at {self._address}: {error}") from error
            rule = MatchRule(type="signal", sender=_SERVICE, interface=_MANAGER, member="JobRemoved", path=_PATH)
            self._connection = connection
            try:
                unwrap_msg(connection.send_and_get_reply(message_bus.AddMatch(rule), timeout=self._timeout))
                self._exchange("manager", _MANAGER, "Subscribe", "", (), _PATH)
            except (OSError, TimeoutError, DBusErrorResponse) as error:
                self._drop()
                raise BusError(f"systemd can't be asked at {self._address}: {error}") from error
        return self._connection

    def _is_closed(self) -> bool:
        """True when the bus hung up since the last call; whatever else it sent meanwhile are signals of jobs of others."""
        connection = self._connection
        if connection is None:
            return True
        while True:
            try:
                connection.recv_messages(timeout=0)
            except TimeoutError:
                return False
            except OSError:
                return True

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def unit_path(unit: str) -> str:
    """The D-Bus object of a unit: every byte but letters and digits as ``_xx``, also a digit in front (sd_bus_path_encode(3))."""

    def escape(match: re.Match[str]) -> str:
        return "".join(f"_{byte:02x}" for byte in match.group().encode())

    return f"{_PATH}/unit/" + re.sub(r"^[0-9]|[^A-Za-z0-9]", escape, unit)


def _variants(properties: Sequence[Property]) -> list[tuple[str, tuple[str, object]]]:
    return [(name, (signature, value)) for name, signature, value in properties]
