/* SPDX-License-Identifier: MIT
 * What the simulated host is like at one moment. The text form is in state_text.c, the file in state_file.c.
 * All numbers are 64 bit, so that one table of names and offsets reads and writes them.
 */
#ifndef STATE_H
#define STATE_H

#include "models.h"

#include <stdint.h>
#include <stdio.h>

#define MAX_GPUS 16
#define MAX_GPU_INSTANCES 15     /* ids 0..14, see mig_geometry.h */
#define MAX_COMPUTE_INSTANCES 8
#define MAX_PROCESSES 256        /* per GPU */
#define MAX_ACCOUNTS 128         /* per GPU: processes that have ended */
#define MAX_EVENTS 64            /* the newest */

#define NO_INSTANCE 0xFFFFFFFFull

/* Event types, as NVML numbers them. */
#define EVENT_DOUBLE_BIT_ECC 0x2ull
#define EVENT_XID 0x8ull
#define EVENT_MIG_CONFIG_CHANGE 0x100ull

struct compute_instance {
    int present;
    unsigned int id;
    uint64_t slices, start;
    char uuid[48];
};

struct gpu_instance {
    int present;
    unsigned int id;
    const struct gpu_profile *profile;
    uint64_t profile_id, start;
    uint64_t sm_util; /* per cent, what GPM reports */
    struct compute_instance compute[MAX_COMPUTE_INSTANCES];
};

/* kind: C compute, G graphics, M MPS client, H holder (keeps the GPU open without being listed, such as DCGM) */
struct process {
    uint64_t pid, started; /* started: field 22 of /proc/<pid>/stat, 0 where not known */
    uint64_t gi, ci, memory;
    uint64_t sm_util, mem_util;
    uint64_t since_us; /* microseconds since the epoch */
    char kind[4];
};

struct account {
    uint64_t pid, sm_util, mem_util, max_memory, time_ms, since_us;
};

struct gpu {
    int present;
    unsigned int index;
    const struct model *model;
    char model_key[32], uuid[48], bus_id[20], serial[24];
    uint64_t minor;
    uint64_t mig_mode, mig_pending, reset_blocked, resets;
    uint64_t persistence, accounting, compute_mode;
    uint64_t util, mem_util, enc_util, dec_util;
    uint64_t temperature, memory_temperature;
    uint64_t power_mw, power_limit_mw;
    uint64_t energy_mj, energy_at_ms; /* counter at CLOCK_BOOTTIME energy_at_ms; power_mw flows since then */
    uint64_t throttle;
    uint64_t ecc_mode;
    uint64_t ecc_corrected, ecc_uncorrected;             /* volatile */
    uint64_t ecc_corrected_total, ecc_uncorrected_total; /* aggregate */
    uint64_t remapped_corrected, remapped_uncorrected, remap_pending, remap_failure;
    uint64_t pcie_replays;
    uint64_t lost;
    struct gpu_instance instances[MAX_GPU_INSTANCES];
    struct process processes[MAX_PROCESSES];
    unsigned int process_count;
    struct account accounts[MAX_ACCOUNTS];
    unsigned int account_count;
};

struct event {
    uint64_t sequence, gpu, type, data, gi, ci;
};

struct host {
    char driver[40], boot[48];
    uint64_t format;
    uint64_t admin_uid;  /* besides root, who may change things */
    uint64_t latency_us; /* every call takes this much longer */
    uint64_t hang;       /* every call waits until this is 0 again */
    uint64_t nodes;      /* 1: a device is visible only to who may open its device node */
    uint64_t caps_major, uvm_major; /* of the device nodes, 0 where there are none */
    uint64_t next_event;
    struct gpu gpus[MAX_GPUS];
    unsigned int gpu_count; /* highest index + 1 */
    struct event events[MAX_EVENTS];
    unsigned int event_count;
};

/* Fill `host` from text. Returns 0, or the number of the first line that is not understood. `text` is cut up. */
int state_parse(struct host *host, char *text);

/* Write all of `host`. Returns 0, or -1 where the stream has an error. */
int state_format(const struct host *host, FILE *stream);

/* Note that something happened on a GPU; the oldest event makes room. */
void state_add_event(struct host *host, uint64_t gpu, uint64_t type, uint64_t data, uint64_t gi, uint64_t ci);

/* What a reboot does: instances, processes and volatile counters are gone; MIG mode stays on Ampere only. */
void state_reboot(struct host *host, const char *boot_id);

/* What a reset of one GPU does. The pending MIG mode takes effect. */
void state_reset_gpu(struct gpu *gpu);

/* Energy counter now, in millijoules. */
uint64_t state_energy_mj(const struct gpu *gpu);

/* Milliseconds since boot, suspend included. */
uint64_t state_now_ms(void);

#endif
