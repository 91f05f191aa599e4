/* SPDX-License-Identifier: MIT
 * Processes on a GPU: who holds memory, and who works.
 *
 * A MIG device lists its own. The GPU of MIG devices lists all of them, and only to an administrator.
 */
#include "session.h"

#include <string.h>
#include <time.h>

/* Kinds of process by nvmlProcessMode_t. The last mode asks for all that are listed anywhere. */
static const char *const kinds_of_mode[] = {"C", "G", "M", "CGM"};
#define MODE_ALL 3

/* Whether the process belongs into a list of those kinds for what the session is about. */
static int is_listed(const struct session *session, const struct process *process, const char *kinds)
{
    if (!process->kind[0] || !strchr(kinds, process->kind[0]))
        return 0;
    if (session->kind == HANDLE_MIG && (process->gi != session->instance->id || process->ci != session->compute->id))
        return 0;
    return process_is_alive(process);
}

static nvmlReturn_t may_list(const struct session *session)
{
    if (session->kind == HANDLE_GPU && session->gpu->mig_mode && !session_is_admin(session->host))
        return NVML_ERROR_NO_PERMISSION;
    return NVML_SUCCESS;
}

/* The protocol of all lists: *count is the room on the way in, the number on the way out; too little room says how much is needed. */
static nvmlReturn_t list_processes(nvmlHandle_t device, const char *kinds, unsigned int *count, nvmlProcessInfo_t *infos)
{
    unsigned int found = 0;
    READ_DEVICE(device);
    NEED(count);
    nvmlReturn_t result = may_list(&session);
    if (result != NVML_SUCCESS)
        return result;
    for (unsigned int p = 0; p < session.gpu->process_count; p++) {
        const struct process *process = &session.gpu->processes[p];
        if (!is_listed(&session, process, kinds))
            continue;
        if (infos && found < *count)
            infos[found] = (nvmlProcessInfo_t){(unsigned int)process->pid, process->memory, (unsigned int)process->gi, (unsigned int)process->ci};
        found++;
    }
    result = found > *count ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
    *count = found;
    return result;
}

NVML_API nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlHandle_t device, unsigned int *count, nvmlProcessInfo_t *infos)
{
    return list_processes(device, "C", count, infos);
}

NVML_API nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlHandle_t device, unsigned int *count, nvmlProcessInfo_t *infos)
{
    return list_processes(device, "G", count, infos);
}

NVML_API nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlHandle_t device, unsigned int *count, nvmlProcessInfo_t *infos)
{
    return list_processes(device, "M", count, infos);
}

NVML_API nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(nvmlHandle_t device, unsigned int *count, nvmlProcessInfo_t *infos)
{
    return list_processes(device, "C", count, infos);
}

NVML_API nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v2(nvmlHandle_t device, unsigned int *count, nvmlProcessInfo_t *infos)
{
    return list_processes(device, "G", count, infos);
}

NVML_API nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v2(nvmlHandle_t device, unsigned int *count, nvmlProcessInfo_t *infos)
{
    return list_processes(device, "M", count, infos);
}

NVML_API nvmlReturn_t nvmlDeviceGetRunningProcessDetailList(nvmlHandle_t device, nvmlProcessDetailList_v1_t *list)
{
    unsigned int found = 0;
    READ_DEVICE(device);
    NEED(list);
    if (list->version != NVML_STRUCT_VERSION(nvmlProcessDetailList_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    NEED(list->mode <= MODE_ALL);
    nvmlReturn_t result = may_list(&session);
    if (result != NVML_SUCCESS)
        return result;
    unsigned int room = list->procArray ? list->numProcArrayEntries : 0;
    for (unsigned int p = 0; p < session.gpu->process_count; p++) {
        const struct process *process = &session.gpu->processes[p];
        if (!is_listed(&session, process, kinds_of_mode[list->mode]))
            continue;
        if (found < room)
            list->procArray[found] = (nvmlProcessDetail_v1_t){(unsigned int)process->pid, process->memory, (unsigned int)process->gi, (unsigned int)process->ci, 0};
        found++;
    }
    list->numProcArrayEntries = found;
    return found > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

static unsigned long long now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000;
}

/* Work is sampled for compute, graphics and MPS alike. */
static int is_sampled(const struct process *process)
{
    return process->kind[0] != 'H' && process_is_alive(process);
}

static unsigned int count_sampled(const struct gpu *gpu)
{
    unsigned int found = 0;
    for (unsigned int p = 0; p < gpu->process_count; p++)
        found += (unsigned int)is_sampled(&gpu->processes[p]);
    return found;
}

/* One sample a process, taken now. NOT_FOUND where there is none since `last_seen`. */
NVML_API nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlHandle_t device, nvmlProcessUtilizationSample_t *samples, unsigned int *count, unsigned long long last_seen)
{
    READ_DEVICE(device);
    NEED(count);
    if (session.gpu->mig_mode)
        return NVML_ERROR_NOT_SUPPORTED;
    unsigned int room = samples ? *count : 0;
    unsigned long long now = now_us();
    *count = count_sampled(session.gpu);
    if (*count == 0 || last_seen >= now)
        return NVML_ERROR_NOT_FOUND;
    if (*count > room)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int p = 0; p < session.gpu->process_count; p++) {
        const struct process *process = &session.gpu->processes[p];
        if (is_sampled(process))
            *samples++ = (nvmlProcessUtilizationSample_t){(unsigned int)process->pid, now, (unsigned int)process->sm_util, (unsigned int)process->mem_util, 0, 0};
    }
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetProcessesUtilizationInfo(nvmlHandle_t device, nvmlProcessesUtilizationInfo_v1_t *info)
{
    READ_DEVICE(device);
    NEED(info);
    if (info->version != NVML_STRUCT_VERSION(nvmlProcessesUtilizationInfo_v1_t, 1))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (session.gpu->mig_mode)
        return NVML_ERROR_NOT_SUPPORTED;
    nvmlProcessUtilizationInfo_v1_t *sample = info->procUtilArray;
    unsigned int room = sample ? info->processSamplesCount : 0;
    unsigned long long now = now_us();
    info->processSamplesCount = count_sampled(session.gpu);
    if (info->processSamplesCount == 0 || info->lastSeenTimeStamp >= now)
        return NVML_ERROR_NOT_FOUND;
    if (info->processSamplesCount > room)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned int p = 0; p < session.gpu->process_count; p++) {
        const struct process *process = &session.gpu->processes[p];
        if (is_sampled(process))
            *sample++ = (nvmlProcessUtilizationInfo_v1_t){now, (unsigned int)process->pid, (unsigned int)process->sm_util, (unsigned int)process->mem_util, 0, 0, 0, 0};
    }
    return NVML_SUCCESS;
}
