/* SPDX-License-Identifier: MIT
 * Changes of the state that are more than one field: events, reset, reboot, the energy counter.
 */
#include "state.h"

#include <string.h>
#include <time.h>

uint64_t state_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t state_energy_mj(const struct gpu *gpu)
{
    uint64_t now = state_now_ms();
    uint64_t elapsed_ms = now > gpu->energy_at_ms ? now - gpu->energy_at_ms : 0;
    return gpu->energy_mj + gpu->power_mw * elapsed_ms / 1000; /* mW * ms = microjoules */
}

void state_add_event(struct host *host, uint64_t gpu, uint64_t type, uint64_t data, uint64_t gi, uint64_t ci)
{
    if (host->event_count == MAX_EVENTS) {
        memmove(&host->events[0], &host->events[1], (MAX_EVENTS - 1) * sizeof host->events[0]);
        host->event_count--;
    }
    host->events[host->event_count++] = (struct event){host->next_event++, gpu, type, data, gi, ci};
}

static void clear_instances_and_processes(struct gpu *gpu)
{
    memset(gpu->instances, 0, sizeof gpu->instances);
    gpu->process_count = 0;
}

void state_reset_gpu(struct gpu *gpu)
{
    clear_instances_and_processes(gpu);
    gpu->mig_mode = gpu->mig_pending;
    gpu->ecc_corrected = gpu->ecc_uncorrected = 0;
    gpu->remap_pending = 0;
    gpu->lost = 0;
    gpu->resets++;
}

void state_reboot(struct host *host, const char *boot_id)
{
    for (unsigned int g = 0; g < host->gpu_count; g++) {
        struct gpu *gpu = &host->gpus[g];
        if (!gpu->present)
            continue;
        state_reset_gpu(gpu);
        if (gpu->model->resetless_mig)
            gpu->mig_mode = gpu->mig_pending = 0;
        gpu->resets = 0;
        gpu->persistence = gpu->accounting = 0;
        gpu->account_count = 0;
        gpu->util = gpu->mem_util = gpu->enc_util = gpu->dec_util = 0;
        gpu->throttle = 1; /* idle */
        gpu->energy_mj = 0;
        gpu->energy_at_ms = state_now_ms();
    }
    host->event_count = 0;
    host->hang = 0;
    memset(host->boot, 0, sizeof host->boot);
    strncpy(host->boot, boot_id, sizeof host->boot - 1);
}
