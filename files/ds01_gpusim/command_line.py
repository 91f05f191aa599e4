# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""What ``ds01-gpusim`` can be told."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import commands
from .changes import PROCESS_KINDS, THROTTLE_REASONS
from .library import library_path
from .new_host import MODELS
from .quantities import instance, memory_size, natural, on_or_off, percentage, throttle_reasons
from .restore import DEFAULT_CONFIG, DEFAULT_SAVED
from .state_file import default_path

EXAMPLES = """\
examples:
  ds01-gpusim init --model a100-40gb --count 4
  ds01-gpusim list
  ds01-gpusim set --gpu 0 --util 80 --power 240 --temperature 71
  ds01-gpusim add-process --gpu 1 --instance 2/0 --pid 4711 --memory 4GiB
  ds01-gpusim xid --gpu 0 --code 63
  ds01-gpusim lose --gpu 3
  ds01-gpusim reboot

Nothing here exists. MIG mode and instances are made through NVML, as on a real server.
exit status: 0 done, 1 refused (the reason is on standard error), 2 wrong usage"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="ds01-gpusim", description="Drive simulated GPUs.", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument(
        "--state", type=Path, default=default_path(), metavar="FILE", help="state file (default: $DS01SIM_STATE, or %(default)s)"
    )
    top.add_argument("--library", type=Path, default=library_path(), metavar="FILE", help="the simulated library (default: %(default)s)")
    top.add_argument("--json", action="store_true", help="answer as JSON")
    commands_of = top.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: commands.Command, text: str, *, gpu: bool = False) -> argparse.ArgumentParser:
        sub = commands_of.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="answer as JSON")
        sub.set_defaults(run=run)
        if gpu:
            sub.add_argument("--gpu", type=natural, required=True, metavar="INDEX", help="index of the GPU")
        return sub

    init = command("init", commands.init, "make a new host, and forget the one there was")
    init.add_argument("--model", action="append", required=True, choices=list(MODELS), help="model of GPU; may be given several times")
    init.add_argument("--count", type=natural, default=1, metavar="N", help="how many of each model (default: 1)")
    init.add_argument("--admin-uid", type=natural, default=0, metavar="UID", help="who may change things besides root (default: 0)")

    command("list", commands.show, "show GPUs, instances and processes")

    add = command("add-process", commands.add_process, "let a running process use a GPU or an instance", gpu=True)
    add.add_argument("--instance", type=instance, metavar="GI/CI", help="instance, on a GPU in MIG mode")
    add.add_argument("--pid", type=natural, required=True, help="a process that exists; when it ends it is no longer listed")
    add.add_argument("--memory", type=memory_size, default="1GiB", metavar="SIZE", help="memory it holds, such as 4GiB (default: 1GiB)")
    add.add_argument(
        "--kind", choices=list(PROCESS_KINDS), default="compute", help="holder: keeps the GPU open without being listed, as monitoring does"
    )
    add.add_argument("--util", type=percentage, default=0, metavar="PERCENT", help="its share of the GPU's work (default: 0)")

    remove = command("remove-process", commands.remove_process, "let a process leave all GPUs")
    remove.add_argument("--pid", type=natural, required=True)

    values = command("set", commands.set_values, "set what a GPU measures and how it behaves", gpu=True)
    values.add_argument("--util", type=percentage, metavar="PERCENT", help="utilisation; of an instance with --instance")
    values.add_argument("--instance", type=instance, metavar="GI", help="the instance that --util is about")
    values.add_argument("--memory-util", type=percentage, metavar="PERCENT", help="utilisation of the memory controller")
    values.add_argument("--temperature", type=natural, metavar="CELSIUS")
    values.add_argument("--power", type=natural, metavar="WATTS", help="power from now on; energy is counted from it")
    values.add_argument(
        "--throttle", type=throttle_reasons, metavar="REASONS", help=f"reasons, by commas: {', '.join(THROTTLE_REASONS)}, none"
    )
    values.add_argument("--remapped-corrected", type=natural, metavar="ROWS")
    values.add_argument("--remapped-uncorrected", type=natural, metavar="ROWS")
    values.add_argument("--remap-pending", type=on_or_off, metavar="on|off", help="rows wait for a reset to be remapped")
    values.add_argument("--remap-failure", type=on_or_off, metavar="on|off")
    values.add_argument(
        "--reset-blocked", type=on_or_off, metavar="on|off", help="no GPU reset, as in a VM: MIG mode stays pending on Ampere"
    )

    ecc = command("ecc", commands.count_ecc_errors, "let memory errors happen", gpu=True)
    ecc.add_argument("--corrected", type=natural, default=0, metavar="N")
    ecc.add_argument("--uncorrected", type=natural, default=0, metavar="N")

    xid = command("xid", commands.report_xid, "let the driver report an XID", gpu=True)
    xid.add_argument("--code", type=natural, required=True)
    xid.add_argument("--instance", type=instance, metavar="GI/CI", help="the instance that it is about")

    command("lose", commands.lose_gpu, "let a GPU fall off the bus", gpu=True)
    command("recover", commands.recover_gpu, "bring a lost GPU back", gpu=True)
    latency = command("latency", commands.set_latency, "make every NVML call slower")
    latency.add_argument("milliseconds", type=natural, metavar="MILLISECONDS", help="0: as fast as it can")
    hang = command("hang", commands.set_hang, "make every NVML call wait until this is off again")
    hang.add_argument("hang", type=on_or_off, metavar="on|off")
    command("reboot", commands.reboot, "do to the GPUs what a reboot of the server does")

    command("cdi", commands.cdi, "write the CDI spec of all devices to standard output")
    command("mig-minors", commands.mig_minors, "write the table of capability minors beside the state file")
    command("device-nodes", commands.device_nodes, "make the device nodes; from then on they decide who sees which GPU")
    boot = command("restore", commands.restore_host, "bring up the configured GPUs with nodes and tables, as at boot")
    boot.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="models in order of index (default: %(default)s)")
    keep = command("save", commands.save_state, "keep the state over a shutdown")
    for sub in (boot, keep):
        sub.add_argument("--saved", type=Path, default=DEFAULT_SAVED, metavar="FILE", help="where it is kept (default: %(default)s)")
    return top
