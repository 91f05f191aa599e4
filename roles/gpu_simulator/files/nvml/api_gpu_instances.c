/* SPDX-License-Identifier: MIT
 * GPU instances: profiles, placements, creation, destruction.
 */
#include "device_nodes.h"
#include "mig_geometry.h"
#include "session.h"

#include <stdio.h>
#include <string.h>

/* Fills the structure whose version is in its first field; version 1 has none and is another function. */
static nvmlReturn_t fill_profile(const struct gpu_profile *profile, nvmlGpuInstanceProfileInfo_v2_t *info)
{
    unsigned int version = info->version;
    if (version == NVML_STRUCT_VERSION(nvmlGpuInstanceProfileInfo_v3_t, 3)) {
        nvmlGpuInstanceProfileInfo_v3_t *info3 = (nvmlGpuInstanceProfileInfo_v3_t *)(void *)info;
        *info3 = (nvmlGpuInstanceProfileInfo_v3_t){version, profile->id, profile->slices, profile->max_instances, profile->multiprocessors,
            profile->copy_engines, profile->decoders, 0, profile->jpegs, profile->ofas, profile->memory_mb, "", 0};
        snprintf(info3->name, sizeof info3->name, "MIG %s", profile->name);
        return NVML_SUCCESS;
    }
    if (version != NVML_STRUCT_VERSION(nvmlGpuInstanceProfileInfo_v2_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    *info = (nvmlGpuInstanceProfileInfo_v2_t){version, profile->id, 0, profile->slices, profile->max_instances, profile->multiprocessors,
        profile->copy_engines, profile->decoders, 0, profile->jpegs, profile->ofas, profile->memory_mb, ""};
    snprintf(info->name, sizeof info->name, "MIG %s", profile->name);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfo(nvmlHandle_t device, unsigned int number, nvmlGpuInstanceProfileInfo_t *info)
{
    READ_DEVICE(device);
    NEED(info);
    const struct gpu_profile *profile = profile_by_number(session.gpu->model, number);
    if (!profile)
        return NVML_ERROR_NOT_SUPPORTED;
    *info = (nvmlGpuInstanceProfileInfo_t){profile->id, 0, profile->slices, profile->max_instances, profile->multiprocessors,
        profile->copy_engines, profile->decoders, 0, profile->jpegs, profile->ofas, profile->memory_mb};
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfoV(nvmlHandle_t device, unsigned int number, nvmlGpuInstanceProfileInfo_v2_t *info)
{
    READ_DEVICE(device);
    NEED(info);
    const struct gpu_profile *profile = profile_by_number(session.gpu->model, number);
    return profile ? fill_profile(profile, info) : NVML_ERROR_NOT_SUPPORTED;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfoByIdV(nvmlHandle_t device, unsigned int id, nvmlGpuInstanceProfileInfo_v2_t *info)
{
    READ_DEVICE(device);
    NEED(info);
    const struct gpu_profile *profile = profile_by_id(session.gpu->model, id);
    return profile ? fill_profile(profile, info) : NVML_ERROR_NOT_SUPPORTED;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstancePossiblePlacements_v2(nvmlHandle_t device, unsigned int id, nvmlPlacement_t *placements, unsigned int *count)
{
    READ_DEVICE(device);
    NEED(count);
    NEED_ADMIN();
    const struct gpu_profile *profile = profile_by_id(session.gpu->model, id);
    if (!profile)
        return NVML_ERROR_NOT_SUPPORTED;
    if (placements && *count < profile->placement_count)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    *count = profile->placement_count;
    for (unsigned int i = 0; placements && i < *count; i++)
        placements[i] = (nvmlPlacement_t){profile->starts[i], profile->size};
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstancePossiblePlacements(nvmlHandle_t device, unsigned int id, nvmlPlacement_t *placements, unsigned int *count)
{
    return nvmlDeviceGetGpuInstancePossiblePlacements_v2(device, id, placements, count);
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstanceRemainingCapacity(nvmlHandle_t device, unsigned int id, unsigned int *count)
{
    READ_DEVICE(device);
    NEED(count);
    NEED_ADMIN();
    const struct gpu_profile *profile = profile_by_id(session.gpu->model, id);
    if (!session.gpu->mig_mode || !profile)
        return NVML_ERROR_NOT_SUPPORTED;
    *count = remaining_capacity(session.gpu, profile);
    return NVML_SUCCESS;
}

/* placement NULL: the driver chooses. */
static nvmlReturn_t create(struct session *session, unsigned int profile_id, const nvmlPlacement_t *placement, nvmlHandle_t *handle)
{
    struct gpu *gpu = session->gpu;
    const struct gpu_profile *profile = profile_by_id(gpu->model, profile_id);
    int start;
    if (!gpu->mig_mode)
        return NVML_ERROR_NOT_SUPPORTED;
    if (!profile)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (placement) {
        if (placement->size != profile->size || !placement_is_possible(profile, placement->start))
            return NVML_ERROR_INVALID_ARGUMENT;
        start = placement_is_free(gpu, profile, placement->start) ? (int)placement->start : -1;
    } else {
        start = choose_placement(gpu, profile);
    }
    if (start < 0)
        return NVML_ERROR_INSUFFICIENT_RESOURCES;
    unsigned int id = gpu_instance_id(profile, (unsigned int)start);
    gpu->instances[id] = (struct gpu_instance){.present = 1, .id = id, .profile = profile, .profile_id = profile->id, .start = (uint64_t)start};
    state_add_event(session->host, gpu->index, EVENT_MIG_CONFIG_CHANGE, 0, id, NO_INSTANCE);
    *handle = handle_make(HANDLE_GPU_INSTANCE, gpu->index, id, 0);
    nvmlReturn_t result = session_commit(session);
    if (result == NVML_SUCCESS)
        node_add_gpu_instance(session->host, gpu, id);
    return result;
}

NVML_API nvmlReturn_t nvmlDeviceCreateGpuInstance(nvmlHandle_t device, unsigned int profile_id, nvmlHandle_t *instance)
{
    CHANGE_DEVICE(device);
    NEED(instance);
    NEED_WHOLE_GPU();
    return create(&session, profile_id, NULL, instance);
}

NVML_API nvmlReturn_t nvmlDeviceCreateGpuInstanceWithPlacement(nvmlHandle_t device, unsigned int profile_id, const nvmlPlacement_t *placement, nvmlHandle_t *instance)
{
    CHANGE_DEVICE(device);
    NEED(instance && placement);
    NEED_WHOLE_GPU();
    return create(&session, profile_id, placement, instance);
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstances(nvmlHandle_t device, unsigned int profile_id, nvmlHandle_t *instances, unsigned int *count)
{
    unsigned int found = 0;
    READ_DEVICE(device);
    NEED(instances && count);
    NEED_ADMIN();
    if (!session.gpu->mig_mode)
        return NVML_ERROR_NOT_SUPPORTED;
    if (!profile_by_id(session.gpu->model, profile_id))
        return NVML_ERROR_INVALID_ARGUMENT;
    for (unsigned int i = 0; i < MAX_GPU_INSTANCES; i++)
        if (session.gpu->instances[i].present && session.gpu->instances[i].profile_id == profile_id)
            instances[found++] = handle_make(HANDLE_GPU_INSTANCE, session.gpu->index, i, 0);
    *count = found;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstanceById(nvmlHandle_t device, unsigned int id, nvmlHandle_t *instance)
{
    READ_DEVICE(device);
    NEED(instance);
    NEED_ADMIN();
    if (!session.gpu->mig_mode)
        return NVML_ERROR_NOT_SUPPORTED;
    if (id >= MAX_GPU_INSTANCES || !session.gpu->instances[id].present)
        return NVML_ERROR_NOT_FOUND;
    *instance = handle_make(HANDLE_GPU_INSTANCE, session.gpu->index, id, 0);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpuInstanceGetInfo(nvmlHandle_t instance, nvmlGpuInstanceInfo_t *info)
{
    READ_GPU_INSTANCE(instance);
    NEED(info);
    *info = (nvmlGpuInstanceInfo_t){
        .device = handle_make(HANDLE_GPU, session.gpu->index, 0, 0),
        .id = session.instance->id,
        .profileId = session.instance->profile->id,
        .placement = {(unsigned int)session.instance->start, session.instance->profile->size},
    };
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpuInstanceDestroy(nvmlHandle_t instance)
{
    CHANGE_GPU_INSTANCE(instance);
    unsigned int id = session.instance->id;
    for (int c = 0; c < MAX_COMPUTE_INSTANCES; c++)
        if (session.instance->compute[c].present)
            return NVML_ERROR_IN_USE;
    memset(session.instance, 0, sizeof *session.instance);
    state_add_event(session.host, session.gpu->index, EVENT_MIG_CONFIG_CHANGE, 0, id, NO_INSTANCE);
    nvmlReturn_t result = session_commit(&session);
    if (result == NVML_SUCCESS)
        node_remove_gpu_instance(session.host, session.gpu, id);
    return result;
}
