/* SPDX-License-Identifier: MIT
 * Accounting: what each process used, also after it has ended. Not in MIG mode.
 */
#include "session.h"

#include <time.h>

NVML_API nvmlReturn_t nvmlDeviceGetAccountingMode(nvmlHandle_t device, unsigned int *mode)
{
    READ_DEVICE(device);
    NEED(mode);
    *mode = (unsigned int)session.gpu->accounting;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceSetAccountingMode(nvmlHandle_t device, unsigned int mode)
{
    CHANGE_DEVICE(device);
    NEED(mode <= 1);
    if (session.gpu->mig_mode)
        return NVML_ERROR_NOT_SUPPORTED;
    session.gpu->accounting = mode;
    if (!mode)
        session.gpu->account_count = 0;
    return session_commit(&session);
}

NVML_API nvmlReturn_t nvmlDeviceClearAccountingPids(nvmlHandle_t device)
{
    CHANGE_DEVICE(device);
    session.gpu->account_count = 0;
    return session_commit(&session);
}

NVML_API nvmlReturn_t nvmlDeviceGetAccountingBufferSize(nvmlHandle_t device, unsigned int *size)
{
    READ_DEVICE(device);
    NEED(size);
    *size = MAX_PROCESSES + MAX_ACCOUNTS;
    return NVML_SUCCESS;
}

/* Processes of the GPU count whether they still live or not; then those that have let go of it. */
NVML_API nvmlReturn_t nvmlDeviceGetAccountingPids(nvmlHandle_t device, unsigned int *count, unsigned int *pids)
{
    READ_DEVICE(device);
    NEED(count);
    const struct gpu *gpu = session.gpu;
    if (!gpu->accounting)
        return NVML_ERROR_NOT_SUPPORTED;
    unsigned int room = pids ? *count : 0;
    *count = gpu->process_count + gpu->account_count;
    if (*count > room)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int p = 0; p < gpu->process_count; p++)
        *pids++ = (unsigned int)gpu->processes[p].pid;
    for (unsigned int a = 0; a < gpu->account_count; a++)
        *pids++ = (unsigned int)gpu->accounts[a].pid;
    return NVML_SUCCESS;
}

static unsigned long long milliseconds_since(uint64_t since_us)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    return now_us > since_us ? (now_us - since_us) / 1000 : 0;
}

NVML_API nvmlReturn_t nvmlDeviceGetAccountingStats(nvmlHandle_t device, unsigned int pid, nvmlAccountingStats_t *stats)
{
    READ_DEVICE(device);
    NEED(stats);
    const struct gpu *gpu = session.gpu;
    if (!gpu->accounting)
        return NVML_ERROR_NOT_SUPPORTED;
    for (unsigned int p = 0; p < gpu->process_count; p++) {
        const struct process *process = &gpu->processes[p];
        if (process->pid != pid)
            continue;
        int running = process_is_alive(process);
        *stats = (nvmlAccountingStats_t){(unsigned int)process->sm_util, (unsigned int)process->mem_util, process->memory,
            running ? 0 : milliseconds_since(process->since_us), process->since_us, (unsigned int)running, {0}};
        return NVML_SUCCESS;
    }
    for (unsigned int a = gpu->account_count; a-- > 0;) {
        const struct account *account = &gpu->accounts[a];
        if (account->pid != pid)
            continue;
        *stats = (nvmlAccountingStats_t){(unsigned int)account->sm_util, (unsigned int)account->mem_util, account->max_memory, account->time_ms, account->since_us, 0, {0}};
        return NVML_SUCCESS;
    }
    return NVML_ERROR_NOT_FOUND;
}
