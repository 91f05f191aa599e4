# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""A D-Bus daemon with a systemd behind it, in one thread: enough of both to test what is sent, and a cgroup tree that follows it.

Units live in ``units`` (name → properties). What real systemd does with them was seen on 257: a reset list then a list in one call,
UnitExists for a unit that is there, JobRemoved after a job, a drop-in for ``ds01-`` that every such slice starts with.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

from jeepney import DBusAddress, HeaderFields, Message, MessageType, Parser, new_error, new_method_return, new_signal

from ds01.core.device_filter import WITHOUT_NVIDIA
from ds01.core.slice_limits import INFINITY

_LISTS = ("DeviceAllow", "IOReadBandwidthMax", "IOWriteBandwidthMax")
_MANAGER = DBusAddress("/org/freedesktop/systemd1", interface="org.freedesktop.systemd1.Manager")


class FakeSystemd:
    """``calls`` are (member, unit). ``fragments`` are units with a file; ``leftovers`` are entries that come back with a name.

    ``refuse`` maps a member to a D-Bus error; ``mute`` members get no answer; ``jobs`` False ends no job; ``stubborn`` clears no list.
    """

    def __init__(self, directory: Path) -> None:
        self.socket_path = directory / "bus.sock"
        self.cgroups = directory / "cgroup"
        self.cgroups.mkdir()
        self.units: dict[str, dict[str, Any]] = {}
        self.fragments: set[str] = set()
        self.leftovers: dict[str, list[tuple[str, str]]] = {}
        self.calls: list[tuple[str, str]] = []
        self.refuse: dict[str, str] = {}
        self.mute: set[str] = set()
        self.jobs = True
        self.stubborn = False
        self._next_job = 0
        self._connections: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.socket_path))
        self._server.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"unix:path={self.socket_path}"

    def close(self) -> None:
        self._server.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Break every connection, as a restarted bus does."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def path(self, unit: str) -> Path:
        parts = unit.removesuffix(".slice").split("-")
        return self.cgroups.joinpath(*("-".join(parts[: n + 1]) + ".slice" for n in range(len(parts))))

    def populate(self, unit: str, populated: bool = True) -> None:
        (self.path(unit) / "cgroup.events").write_text(f"populated {int(populated)}\nfrozen 0\n")

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            stream = connection.makefile("rb")
            while not (line := stream.readline()).startswith(b"BEGIN"):
                if not line:
                    return
                connection.sendall(b"AGREE_UNIX_FD\r\n" if b"NEGOTIATE" in line else b"OK 0123456789abcdef0123456789abcdef\r\n")
            parser = Parser()
            while data := stream.read1(65536):  # type: ignore[attr-defined]
                for message in parser.feed(data):
                    for answer in self._answer(message):
                        connection.sendall(answer.serialise(serial=self._serial()))

    def _serial(self) -> int:
        self._next_job += 1
        return self._next_job

    def _answer(self, message: Message) -> list[Message]:
        member = message.header.fields[HeaderFields.member]
        body = message.body
        unit = next((b for b in body if isinstance(b, str) and b.endswith(".slice")), "")
        if message.header.message_type != MessageType.method_call:
            return []
        if member == "Hello":
            return [new_method_return(message, "s", (":1.7",))]
        if member not in ("AddMatch", "Subscribe"):
            self.calls.append((member, unit))
        if member in self.mute:
            return []
        if member in self.refuse:
            return [new_error(message, self.refuse[member], "s", (f"{member} is refused",))]
        if member == "Get":
            return self._get(message)
        if member == "SetUnitProperties":
            if unit not in self.units:
                return [new_error(message, "org.freedesktop.systemd1.NoSuchUnit", "s", (f"Unit {unit} not loaded.",))]
            self._set(unit, body[2])
            return [new_method_return(message)]
        if member == "StartTransientUnit":
            if unit in self.units or unit in self.fragments:
                return [new_error(message, "org.freedesktop.systemd1.UnitExists", "s", (f"Unit {unit} was already loaded.",))]
            self._set(unit, body[2])
        elif member == "StartUnit":
            self._set(unit, [])
        elif member == "StopUnit":
            if self.units.pop(unit, None) is None:
                return [new_error(message, "org.freedesktop.systemd1.NoSuchUnit", "s", (f"Unit {unit} not loaded.",))]
            for file in self.path(unit).iterdir():
                file.unlink()
            self.path(unit).rmdir()
        elif member not in ("AddMatch", "Subscribe"):
            return [new_error(message, "org.freedesktop.DBus.Error.UnknownMethod", "s", (member,))]
        if member in ("AddMatch", "Subscribe"):
            return [new_method_return(message)]
        return self._job(message, unit)

    def _job(self, message: Message, unit: str) -> list[Message]:
        job = f"/org/freedesktop/systemd1/job/{self._serial()}"
        answers = [self._removed(f"{job}0", "other.slice", "done"), new_method_return(message, "o", (job,))]
        if self.jobs:
            answers.append(self._removed(job, unit, "done"))
        return answers

    @staticmethod
    def _removed(job: str, unit: str, result: str) -> Message:
        signal = new_signal(_MANAGER, "JobRemoved", "uoss", (1, job, unit, result))
        signal.header.fields[HeaderFields.sender] = ":1.0"  # the unique name, as the bus delivers it
        return signal

    def _get(self, message: Message) -> list[Message]:
        path = message.header.fields[HeaderFields.path].rsplit("/", 1)[1]
        name = path.replace("_2d", "-").replace("_2e", ".")
        if name not in self.units:
            return [new_error(message, "org.freedesktop.DBus.Error.UnknownObject", "s", (f"Unknown object {name}",))]
        key = message.body[1]
        return [new_method_return(message, "v", (("a(ss)" if key == "DeviceAllow" else "s", self.units[name][key]),))]

    def _set(self, unit: str, properties: list[tuple[str, tuple[str, Any]]]) -> None:
        inherited = [*WITHOUT_NVIDIA, *self.leftovers.pop(unit, [])]
        values = self.units.setdefault(unit, {"DevicePolicy": "closed", "DeviceAllow": list(inherited)})
        for name, (_signature, value) in properties:
            if name in _LISTS:
                kept = values.get(name, []) if value or self.stubborn else []
                values[name] = list(dict.fromkeys([*kept, *map(tuple, value)])) if value else list(kept)
            else:
                values[name] = value
        if len(values["DeviceAllow"]) and inherited != list(WITHOUT_NVIDIA):
            values["DeviceAllow"] = list(dict.fromkeys([*values["DeviceAllow"], *inherited]))
        self._realise(unit, values)

    def _realise(self, unit: str, values: dict[str, Any]) -> None:
        directory = self.path(unit)
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "cgroup.events").exists():
            self.populate(unit, False)

        def number(key: str, scale: int = 1) -> str:
            value = values.get(key, INFINITY)
            return "max" if value == INFINITY else str(value // scale)

        (directory / "cpu.max").write_text(f"{number('CPUQuotaPerSecUSec', 10)} 100000\n")
        (directory / "memory.high").write_text(number("MemoryHigh") + "\n")
        (directory / "memory.max").write_text(number("MemoryMax") + "\n")
        (directory / "pids.max").write_text(number("TasksMax") + "\n")
        read, write = (dict(values.get(k, [])) for k in ("IOReadBandwidthMax", "IOWriteBandwidthMax"))
        lines = [f"8:0 rbps={read.get(p, 'max')} wbps={write.get(p, 'max')} riops=max wiops=max" for p in {*read, *write}]
        (directory / "io.max").write_text("\n".join(lines) + "\n")
