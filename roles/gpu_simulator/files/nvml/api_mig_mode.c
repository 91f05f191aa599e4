/* SPDX-License-Identifier: MIT
 * MIG mode, and the MIG devices as such.
 */
#include "session.h"

#define MAX_MIG_DEVICES 7


NVML_API nvmlReturn_t nvmlDeviceGetMigMode(nvmlHandle_t device, unsigned int *current, unsigned int *pending)
{
    READ_DEVICE(device);
    NEED(current && pending);
    *current = (unsigned int)session.gpu->mig_mode;
    *pending = (unsigned int)session.gpu->mig_pending;
    return NVML_SUCCESS;
}

/* A switch needs a GPU without clients and, on the way out of MIG, without instances. */
static int is_busy(const struct gpu *gpu)
{
    for (unsigned int p = 0; p < gpu->process_count; p++)
        if (process_is_alive(&gpu->processes[p]))
            return 1;
    for (int i = 0; i < MAX_GPU_INSTANCES; i++)
        if (gpu->instances[i].present)
            return 1;
    return 0;
}

/* SUCCESS does not mean that the mode is in force: `activation` says whether it is. What was asked for stays pending. */
NVML_API nvmlReturn_t nvmlDeviceSetMigMode(nvmlHandle_t device, unsigned int mode, nvmlReturn_t *activation)
{
    CHANGE_DEVICE(device);
    NEED(activation && mode <= 1);
    NEED_WHOLE_GPU();
    struct gpu *gpu = session.gpu;
    gpu->mig_pending = mode;
    *activation = NVML_SUCCESS;
    if (mode == gpu->mig_mode)
        return session_commit(&session);
    if (is_busy(gpu)) {
        *activation = NVML_ERROR_IN_USE;
    } else if (gpu->model->resetless_mig) {
        gpu->mig_mode = mode;
    } else if (gpu->reset_blocked) {
        *activation = NVML_ERROR_RESET_REQUIRED;
    } else {
        state_reset_gpu(gpu);
    }
    if (*activation == NVML_SUCCESS) {
        gpu->accounting = 0;
        gpu->account_count = 0;
        state_add_event(session.host, gpu->index, EVENT_MIG_CONFIG_CHANGE, 0, NO_INSTANCE, NO_INSTANCE);
    }
    return session_commit(&session);
}

NVML_API nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlHandle_t device, unsigned int *count)
{
    READ_DEVICE(device);
    NEED(count);
    NEED_WHOLE_GPU();
    *count = MAX_MIG_DEVICES;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlHandle_t device, unsigned int *is_mig)
{
    READ_DEVICE(device);
    NEED(is_mig);
    *is_mig = session.kind == HANDLE_MIG;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlHandle_t device, unsigned int index, nvmlHandle_t *mig)
{
    struct gpu_instance *instance;
    struct compute_instance *compute;
    READ_DEVICE(device);
    NEED(mig);
    NEED_WHOLE_GPU();
    if (!session.gpu->mig_mode || !nth_mig_device(session.host, session.gpu, index, &instance, &compute))
        return NVML_ERROR_NOT_FOUND;
    *mig = handle_make(HANDLE_MIG, session.gpu->index, instance->id, compute->id);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlHandle_t mig, nvmlHandle_t *device)
{
    READ_MIG_DEVICE(mig);
    NEED(device);
    *device = handle_make(HANDLE_GPU, session.gpu->index, 0, 0);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlHandle_t device, unsigned int *id)
{
    READ_DEVICE(device);
    NEED(id);
    if (session.kind != HANDLE_MIG)
        return NVML_ERROR_NOT_SUPPORTED;
    *id = session.instance->id;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlHandle_t device, unsigned int *id)
{
    READ_DEVICE(device);
    NEED(id);
    if (session.kind != HANDLE_MIG)
        return NVML_ERROR_NOT_SUPPORTED;
    *id = session.compute->id;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlHandle_t device, nvmlDeviceAttributes_t *attributes)
{
    READ_DEVICE(device);
    NEED(attributes);
    if (session.kind != HANDLE_MIG)
        return NVML_ERROR_NOT_SUPPORTED;
    const struct gpu_profile *profile = session.instance->profile;
    unsigned int slices = (unsigned int)session.compute->slices;
    *attributes = (nvmlDeviceAttributes_t){
        .multiprocessorCount = profile->multiprocessors * slices / profile->slices,
        .sharedCopyEngineCount = profile->copy_engines,
        .sharedDecoderCount = profile->decoders,
        .sharedJpegCount = profile->jpegs,
        .sharedOfaCount = profile->ofas,
        .gpuInstanceSliceCount = profile->slices,
        .computeInstanceSliceCount = slices,
        .memorySizeMB = profile->memory_mb,
    };
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetAttributes(nvmlHandle_t device, nvmlDeviceAttributes_t *attributes)
{
    return nvmlDeviceGetAttributes_v2(device, attributes);
}
