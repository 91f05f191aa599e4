# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""Puts the gate together and runs it."""

from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path

from ds01.allocator import AllocationPaths, Allocator
from ds01.caller_paths import CallerPaths
from ds01.cgroup_fs import CgroupFs
from ds01.claim_occupants import Occupants, ProcOccupants, SliceOccupants
from ds01.core.gate.api_versions import DaemonNotSupported, text
from ds01.docker_facts import DockerFacts
from ds01.docker_upstream import DaemonRefused, DaemonUnavailable, DockerClient
from ds01.event_log import EventLog
from ds01.image_tags import ImageTags
from ds01.mig_remaker import Remaker
from ds01.peer_identity import Accounts
from ds01.policy_file import PolicyFile, Resolver
from ds01.service_manager import notify, watchdog_seconds
from ds01.slice_control import NoSlices, Slices
from ds01_gate.audit import Audit
from ds01_gate.caller import Callers
from ds01_gate.claim_keeper import ClaimKeeper
from ds01_gate.connection import Services
from ds01_gate.effects import Effects
from ds01_gate.event_watch import EventWatch
from ds01_gate.judgement import Judgement
from ds01_gate.listener import Listener
from ds01_gate.maintenance import MaintenanceGuard
from ds01_gate.measures import Measures
from ds01_gate.recorder import Recorder
from ds01_gate.settings import Settings
from ds01_gate.streams import Streams
from ds01_gate.traffic import Traffic
from ds01_gate.turn_keeper import TurnKeeper
from ds01_gate.turn_wait import TurnWait
from ds01_gate.v1_api import V1Api
from ds01_gate.v1_handlers import Sources, V1Handlers

_STACK_BYTES = 512 * 1024
_PATIENCE_S = 180.0
"""How long a person's request waits for dockerd: it makes networks one after the other, and twenty people's first ones take a while."""


def _slices(settings: Settings, cgroups: CgroupFs) -> Slices:
    if settings.slices == "none":
        return NoSlices()
    from ds01.systemd_bus import SystemdBus
    from ds01.systemd_slices import SystemdSlices

    return SystemdSlices(SystemdBus(), cgroups)


class Gate:
    """The whole program. Make it while the process has one thread only: the path server is forked here."""

    def __init__(self, settings: Settings, sockets: list[socket.socket], audit: Audit) -> None:
        self._settings = settings
        self._audit = audit
        paths = CallerPaths()
        docker = DockerClient(settings.docker)
        patient = DockerClient(settings.docker, timeout=_PATIENCE_S)
        cgroups = CgroupFs()
        slices = _slices(settings, cgroups)
        tags = ImageTags(Path(settings.image_tags))
        log = EventLog(settings.events)
        self._recorder = recorder = Recorder(log, audit)
        policies = PolicyFile(
            settings.policy,
            on_problem=self._policy_rejected,
            on_change=lambda: recorder.record("policy.changed", details={"path": settings.policy}),
        )
        policies.current()
        self._callers = Callers(Accounts(), Resolver(policies))
        where = AllocationPaths(
            Path(settings.claims), Path(settings.claims_lock), Path(settings.devices), Path(settings.cdi_base), Path(settings.reservations)
        )
        self._turns = turns = TurnKeeper(
            settings.queue, self._callers.limits_of, lambda: float(policies.current().gate.queue_hold), recorder, audit
        )
        occupants: Occupants = SliceOccupants(cgroups) if settings.slices == "systemd" else ProcOccupants()
        allocator = Allocator(where, slices, turns=turns, occupants=occupants)
        self._waiting = TurnWait(turns, allocator)
        maintenance = MaintenanceGuard(settings.maintenance)
        remaker, patience = Remaker(), settings.orphan_seconds
        keeper = ClaimKeeper(
            allocator, docker, audit, recorder, maintenance, turns, remaker=remaker, occupants=occupants, orphan_seconds=patience
        )
        self._paths = paths
        self._watch = EventWatch(docker, keeper, self._callers.limits_of, audit, settings.reconcile_seconds)
        self._judgement = Judgement(settings, docker, DockerFacts(patient, paths, tags), audit, policies)
        traffic = Traffic()
        self._measures = Measures(settings.measures, audit, lambda: (traffic.connections.total, recorder.lost, policies.problem is None))
        services = Services(
            settings=settings,
            audit=audit,
            recorder=recorder,
            callers=self._callers,
            policies=policies,
            judgement=self._judgement,
            effects=Effects(patient, paths, tags, slices, keeper, self._callers, self._waiting),
            streams=Streams(settings.splice, audit),
            traffic=traffic,
            measures=self._measures,
            api=V1Api(V1Handlers(Sources(allocator, docker, policies, cgroups, turns, recorder, log, settings.inventory)).table()),
            maintenance=maintenance,
            waiting=self._waiting,
        )
        self._listener = Listener(sockets, services)
        self._ending = threading.Event()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then let requests under way end."""
        threading.stack_size(_STACK_BYTES)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._listener.stop())
        signal.signal(signal.SIGHUP, lambda *_: self._callers.forget())
        self._recorder.start()
        self._turns.refresh()
        self._watch.start()
        threading.Thread(target=self._watchdog, name="watchdog", daemon=True).start()
        threading.Thread(target=self._measures.run, args=(self._ending,), name="measures", daemon=True).start()
        notify("READY=1")
        self._audit.note("started", docker=self._settings.docker, splice=self._settings.splice)
        threading.Thread(target=self._look_at_daemon, name="daemon", daemon=True).start()
        self._listener.run()
        notify("STOPPING=1")
        self._waiting.stop()
        left = self._listener.drain(self._settings.drain_seconds)
        self._ending.set()
        self._watch.stop()
        self._turns.flush()
        self._recorder.stop()
        self._audit.note("stopped", cut_off=left)

    def _policy_rejected(self, why: str) -> None:
        self._audit.note("policy_problem", why=why)
        self._recorder.record("policy.rejected", details={"path": self._settings.policy, "errors": why[:2000]})

    def _look_at_daemon(self) -> None:
        """Says once which API is spoken, or why none is: then every request is refused with that, too."""
        try:
            oldest, newest = self._judgement.api()
            self._audit.note("daemon", api_oldest=text(oldest), api_newest=text(newest))
        except DaemonNotSupported as error:
            self._audit.note("daemon_not_supported", why=str(error))
        except (DaemonUnavailable, DaemonRefused) as error:
            self._audit.note("daemon_away", why=str(error))

    def _watchdog(self) -> None:
        """A sign of life while the path server lives: without it binds can't be judged, and systemd had better start everything anew."""
        every = watchdog_seconds()
        while every is not None and not self._ending.wait(every):
            if self._paths.alive():
                notify("WATCHDOG=1")
