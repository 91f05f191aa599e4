/* SPDX-License-Identifier: MIT
 * Memory of a GPU or a MIG device: what its processes use, on top of what the driver keeps for itself.
 */
#include "session.h"

#define MIB (1ull << 20)
#define DRIVER_RESERVED (600 * MIB) /* of a whole GPU */

struct memory {
    unsigned long long total, reserved, used;
};

static struct memory measure(const struct session *session)
{
    const struct gpu *gpu = session->gpu;
    int is_mig = session->kind == HANDLE_MIG;
    struct memory memory = {0};
    memory.total = (is_mig ? session->instance->profile->memory_mb : gpu->model->memory_mb) * MIB;
    memory.reserved = is_mig ? 0 : DRIVER_RESERVED;
    for (unsigned int p = 0; p < gpu->process_count; p++) {
        const struct process *process = &gpu->processes[p];
        if ((!is_mig || process->gi == session->instance->id) && process_is_alive(process))
            memory.used += process->memory;
    }
    if (memory.used > memory.total - memory.reserved)
        memory.used = memory.total - memory.reserved;
    return memory;
}

/* The first form has no word for reserved memory: it counts as used. */
NVML_API nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlHandle_t device, nvmlMemory_t *info)
{
    READ_DEVICE(device);
    NEED(info);
    struct memory memory = measure(&session);
    *info = (nvmlMemory_t){memory.total, memory.total - memory.reserved - memory.used, memory.reserved + memory.used};
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlHandle_t device, nvmlMemory_v2_t *info)
{
    READ_DEVICE(device);
    NEED(info);
    if (info->version != NVML_STRUCT_VERSION(nvmlMemory_v2_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    struct memory memory = measure(&session);
    *info = (nvmlMemory_v2_t){info->version, memory.total, memory.reserved, memory.total - memory.reserved - memory.used, memory.used};
    return NVML_SUCCESS;
}

/* All of memory is reachable over PCIe, rounded up to a power of two, with a few MiB mapped. */
NVML_API nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlHandle_t device, nvmlBAR1Memory_t *info)
{
    READ_DEVICE(device);
    NEED(info);
    unsigned long long total = MIB;
    while (total < session.gpu->model->memory_mb * MIB)
        total <<= 1;
    if (session.kind == HANDLE_MIG)
        total = total / 8 * session.instance->profile->size;
    *info = (nvmlBAR1Memory_t){total, total - 4 * MIB, 4 * MIB};
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMemoryBusWidth(nvmlHandle_t device, unsigned int *bits)
{
    READ_DEVICE(device);
    NEED(bits);
    NEED_WHOLE_GPU();
    *bits = session.gpu->model->memory_bus_bits;
    return NVML_SUCCESS;
}
