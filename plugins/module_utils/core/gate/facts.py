# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What a rule has to know and only a look at the world can say: questions, their answers, and the book that holds them.

A rule asks the book; what the book does not hold ends the judgement with a ``Need``, the caller looks it up and judges again.
The answer to every question but a count may be None: there is no such thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast


@dataclass(frozen=True)
class ContainerFact:
    """Which container ``ref`` (full id, name, or unique prefix of an id) means. Answer: ``Container``."""

    ref: str


@dataclass(frozen=True)
class ExecFact:
    """In which container the exec ``id`` runs. Answer: ``Exec``."""

    id: str


@dataclass(frozen=True)
class VolumeFact:
    """The volume of that exact name. Answer: ``Volume``."""

    name: str


@dataclass(frozen=True)
class NetworkFact:
    """Which network ``ref`` (full id, name, or prefix of an id) means. Answer: ``Network``."""

    ref: str


@dataclass(frozen=True)
class ImageFact:
    """The image that ``ref`` means and who wrote that reference last. Answer: ``Image``."""

    ref: str


@dataclass(frozen=True)
class BindFact:
    """Where the absolute, normalised ``path`` leads when the *caller* follows it (in a child with the caller's ids).

    Answer: ``Bind``, never None.
    """

    path: str


@dataclass(frozen=True)
class RootFact:
    """What the bind root ``path`` of the policy is now. Answer: ``Root``."""

    path: str


@dataclass(frozen=True)
class RunningFact:
    """How many containers of ``user`` (with that uid) run now, those of before the gate included. Answer: int."""

    user: str
    uid: int


@dataclass(frozen=True)
class LegacyFact:
    """How many containers of before the gate ``user`` (with that uid) has, running or not. Answer: int."""

    user: str
    uid: int


@dataclass(frozen=True)
class NetworkCountFact:
    """How many networks ``user`` has. Answer: int."""

    user: str


@dataclass(frozen=True)
class VolumeCountFact:
    """How many volumes ``user`` has. Answer: int."""

    user: str


@dataclass(frozen=True)
class ImageSpaceFact:
    """How many bytes the images fill that ``user`` made, or that have names below ``namespaces`` alone. Answer: int."""

    user: str
    namespaces: tuple[str, ...]


Question = (
    ContainerFact
    | ExecFact
    | VolumeFact
    | NetworkFact
    | ImageFact
    | BindFact
    | RootFact
    | RunningFact
    | LegacyFact
    | NetworkCountFact
    | VolumeCountFact
    | ImageSpaceFact
)


@dataclass(frozen=True)
class Container:
    """A container: ``id`` 64 hex digits, ``name`` without the leading slash, ``labels`` as Docker holds them.

    ``networks`` are the keys of NetworkSettings.Networks. ``host`` is HostConfig and ``mounts`` is Mounts, as inspect shows them.
    """

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    running: bool = False
    networks: tuple[str, ...] = ()
    host: Mapping[str, Any] = field(default_factory=dict, hash=False)
    mounts: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)


@dataclass(frozen=True)
class Exec:
    """An exec instance and the full id of its container."""

    id: str
    container_id: str


@dataclass(frozen=True)
class Volume:
    """A volume with its labels and driver options (empty when Docker says null)."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    options: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Network:
    """A network: full id, name, labels."""

    id: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Image:
    """An image. ``writer``: the user who last wrote the reference through the gate, None for a pulled or unknown one.

    ``writer_is_admin`` goes with it. ``labels``, ``volumes`` and ``ports`` are the keys of Config.Labels, Config.Volumes and
    Config.ExposedPorts; ``tags`` is RepoTags. ``maker``: who made the image itself (build, commit, import, load) through the gate.
    ``system`` and ``architecture`` are what it was made for, as Go names them; empty where it does not say.
    """

    id: str
    writer: str | None = None
    writer_is_admin: bool = False
    labels: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    maker: str | None = None
    ports: tuple[str, ...] = ()
    system: str = ""
    architecture: str = ""


@dataclass(frozen=True)
class Bind:
    """``real`` is the path with every symbolic link followed as the caller; None when the caller cannot reach it.

    ``kind`` is ``directory``, ``file``, ``other`` (socket, device, pipe) or ``missing``; of a missing path ``real`` is the real path of the
    deepest existing ancestor with the rest appended. ``error`` says in words why ``real`` is None.
    """

    real: str | None
    kind: str
    error: str = ""


@dataclass(frozen=True)
class Root:
    """``real`` path of a bind root, and whether its mount is nosuid and nodev (statvfs)."""

    real: str
    nosuid: bool
    nodev: bool


Answer = Container | Exec | Volume | Network | Image | Bind | Root | int | None


class Missing(Exception):
    """Raised inside a rule when the book lacks answers; carries all questions that were asked together."""

    def __init__(self, questions: tuple[Question, ...]) -> None:
        super().__init__(f"{len(questions)} facts are not known yet")
        self.questions = questions


@dataclass(frozen=True)
class Facts:
    """The answers known so far. Never changed: ``told`` returns a book with more in it."""

    answers: Mapping[Question, Answer] = field(default_factory=lambda: MappingProxyType({}))

    def told(self, answers: Mapping[Question, Answer]) -> Facts:
        """This book with ``answers`` added."""
        return Facts(MappingProxyType({**self.answers, **answers}))

    def require(self, *questions: Question) -> None:
        """Nothing when all are known; else ``Missing`` with every one that is not, so that one round of look-ups answers them."""
        missing = tuple(dict.fromkeys(q for q in questions if q not in self.answers))
        if missing:
            raise Missing(missing)

    def _answer(self, question: Question) -> Answer:
        self.require(question)
        return self.answers[question]

    def container(self, ref: str) -> Container | None:
        """The container that ``ref`` means."""
        return cast("Container | None", self._answer(ContainerFact(ref)))

    def exec(self, exec_id: str) -> Exec | None:
        """The exec instance with that id."""
        return cast("Exec | None", self._answer(ExecFact(exec_id)))

    def volume(self, name: str) -> Volume | None:
        """The volume of that name."""
        return cast("Volume | None", self._answer(VolumeFact(name)))

    def network(self, ref: str) -> Network | None:
        """The network that ``ref`` means."""
        return cast("Network | None", self._answer(NetworkFact(ref)))

    def image(self, ref: str) -> Image | None:
        """The image that ``ref`` means."""
        return cast("Image | None", self._answer(ImageFact(ref)))

    def bind(self, path: str) -> Bind:
        """Where the caller gets with that path."""
        return cast("Bind", self._answer(BindFact(path)))

    def root(self, path: str) -> Root | None:
        """What that bind root is."""
        return cast("Root | None", self._answer(RootFact(path)))

    def running(self, user: str, uid: int) -> int:
        """How many containers that user has running."""
        return cast("int", self._answer(RunningFact(user, uid)))

    def legacy(self, user: str, uid: int) -> int:
        """How many containers of before the gate that user has."""
        return cast("int", self._answer(LegacyFact(user, uid)))

    def network_count(self, user: str) -> int:
        """How many networks that user has."""
        return cast("int", self._answer(NetworkCountFact(user)))

    def volume_count(self, user: str) -> int:
        """How many volumes that user has."""
        return cast("int", self._answer(VolumeCountFact(user)))

    def image_space(self, user: str, namespaces: tuple[str, ...]) -> int:
        """How many bytes the images of that user fill."""
        return cast("int", self._answer(ImageSpaceFact(user, namespaces)))
