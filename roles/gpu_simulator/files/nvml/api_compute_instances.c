/* SPDX-License-Identifier: MIT
 * Compute instances within a GPU instance.
 */
#include "device_nodes.h"
#include "mig_geometry.h"
#include "session.h"

#include <stdio.h>
#include <string.h>

/* Version 1 facts of a compute instance profile. NOT_SUPPORTED where the GPU instance does not offer it. */
static nvmlReturn_t describe(const struct gpu_profile *profile, unsigned int id, nvmlComputeInstanceProfileInfo_t *info)
{
    unsigned int slices = compute_profile_slices(profile, id);
    if (!slices)
        return NVML_ERROR_NOT_SUPPORTED;
    *info = (nvmlComputeInstanceProfileInfo_t){
        .id = id,
        .sliceCount = slices,
        .instanceCount = compute_placement_count(profile, slices),
        .multiprocessorCount = profile->multiprocessors * slices / profile->slices,
        .sharedCopyEngineCount = profile->copy_engines,
        .sharedDecoderCount = profile->decoders,
        .sharedJpegCount = profile->jpegs,
        .sharedOfaCount = profile->ofas,
    };
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpuInstanceGetComputeInstanceProfileInfo(nvmlHandle_t instance, unsigned int id, unsigned int engine, nvmlComputeInstanceProfileInfo_t *info)
{
    READ_GPU_INSTANCE(instance);
    NEED(info && engine == 0);
    return describe(session.instance->profile, id, info);
}

NVML_API nvmlReturn_t nvmlGpuInstanceGetComputeInstanceProfileInfoV(nvmlHandle_t instance, unsigned int id, unsigned int engine, nvmlComputeInstanceProfileInfo_v2_t *info)
{
    nvmlComputeInstanceProfileInfo_t facts;
    READ_GPU_INSTANCE(instance);
    NEED(info && engine == 0);
    const struct gpu_profile *profile = session.instance->profile;
    int is_v3 = info->version == NVML_STRUCT_VERSION(nvmlComputeInstanceProfileInfo_v3_t, 3);
    if (!is_v3 && info->version != NVML_STRUCT_VERSION(nvmlComputeInstanceProfileInfo_v2_t, 2))
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    nvmlReturn_t result = describe(profile, id, &facts);
    if (result != NVML_SUCCESS)
        return result;
    memcpy(&info->id, &facts, sizeof facts); /* version 2 and 3 are version 1 between the version number and the name */
    if (facts.sliceCount == profile->slices)
        snprintf(info->name, sizeof info->name, "MIG %s", profile->name);
    else
        snprintf(info->name, sizeof info->name, "MIG %uc.%s", facts.sliceCount, profile->name);
    if (is_v3)
        ((nvmlComputeInstanceProfileInfo_v3_t *)(void *)info)->capabilities = 0;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpuInstanceGetComputeInstanceRemainingCapacity(nvmlHandle_t instance, unsigned int id, unsigned int *count)
{
    READ_GPU_INSTANCE(instance);
    NEED(count);
    unsigned int slices = compute_profile_slices(session.instance->profile, id);
    if (!slices)
        return NVML_ERROR_NOT_SUPPORTED;
    *count = 0;
    for (unsigned int k = 0; k < compute_placement_count(session.instance->profile, slices); k++)
        *count += (unsigned int)compute_placement_is_free(session.instance, slices, compute_placement_start(slices, k));
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpuInstanceGetComputeInstancePossiblePlacements(nvmlHandle_t instance, unsigned int id, nvmlPlacement_t *placements, unsigned int *count)
{
    READ_GPU_INSTANCE(instance);
    NEED(count);
    unsigned int slices = compute_profile_slices(session.instance->profile, id);
    if (!slices)
        return NVML_ERROR_NOT_SUPPORTED;
    unsigned int possible = compute_placement_count(session.instance->profile, slices);
    if (placements && *count < possible)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    *count = possible;
    for (unsigned int k = 0; placements && k < possible; k++)
        placements[k] = (nvmlPlacement_t){compute_placement_start(slices, k), slices};
    return NVML_SUCCESS;
}

static nvmlReturn_t create(struct session *session, unsigned int profile_id, const nvmlPlacement_t *placement, nvmlHandle_t *handle)
{
    struct gpu_instance *instance = session->instance;
    unsigned int slices = compute_profile_slices(instance->profile, profile_id), id = 0;
    int start;
    if (!slices)
        return NVML_ERROR_NOT_SUPPORTED;
    if (placement) {
        if (placement->size != slices)
            return NVML_ERROR_INVALID_ARGUMENT;
        start = compute_placement_is_free(instance, slices, placement->start) ? (int)placement->start : -1;
    } else {
        start = choose_compute_placement(instance, slices);
    }
    if (start < 0)
        return NVML_ERROR_INSUFFICIENT_RESOURCES;
    while (instance->compute[id].present) /* seven slices at most: there is a free id among eight */
        id++;
    struct compute_instance *compute = &instance->compute[id];
    *compute = (struct compute_instance){.present = 1, .id = id, .slices = slices, .start = (uint64_t)start};
    mig_uuid(session->gpu, instance->id, (unsigned int)start, compute->uuid, sizeof compute->uuid);
    state_add_event(session->host, session->gpu->index, EVENT_MIG_CONFIG_CHANGE, 0, instance->id, id);
    *handle = handle_make(HANDLE_COMPUTE_INSTANCE, session->gpu->index, instance->id, id);
    nvmlReturn_t result = session_commit(session);
    if (result == NVML_SUCCESS)
        node_add_compute_instance(session->host, session->gpu, instance->id, id);
    return result;
}

NVML_API nvmlReturn_t nvmlGpuInstanceCreateComputeInstance(nvmlHandle_t instance, unsigned int profile_id, nvmlHandle_t *compute)
{
    CHANGE_GPU_INSTANCE(instance);
    NEED(compute);
    return create(&session, profile_id, NULL, compute);
}

NVML_API nvmlReturn_t nvmlGpuInstanceCreateComputeInstanceWithPlacement(nvmlHandle_t instance, unsigned int profile_id, const nvmlPlacement_t *placement, nvmlHandle_t *compute)
{
    CHANGE_GPU_INSTANCE(instance);
    NEED(compute && placement);
    return create(&session, profile_id, placement, compute);
}

NVML_API nvmlReturn_t nvmlGpuInstanceGetComputeInstances(nvmlHandle_t instance, unsigned int profile_id, nvmlHandle_t *computes, unsigned int *count)
{
    unsigned int found = 0;
    READ_GPU_INSTANCE(instance);
    NEED(computes && count && profile_id < COMPUTE_PROFILES);
    for (unsigned int c = 0; c < MAX_COMPUTE_INSTANCES; c++)
        if (session.instance->compute[c].present && compute_profile_of((unsigned int)session.instance->compute[c].slices) == profile_id)
            computes[found++] = handle_make(HANDLE_COMPUTE_INSTANCE, session.gpu->index, session.instance->id, c);
    *count = found;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpuInstanceGetComputeInstanceById(nvmlHandle_t instance, unsigned int id, nvmlHandle_t *compute)
{
    READ_GPU_INSTANCE(instance);
    NEED(compute);
    if (id >= MAX_COMPUTE_INSTANCES || !session.instance->compute[id].present)
        return NVML_ERROR_NOT_FOUND;
    *compute = handle_make(HANDLE_COMPUTE_INSTANCE, session.gpu->index, session.instance->id, id);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlComputeInstanceGetInfo_v2(nvmlHandle_t compute, nvmlComputeInstanceInfo_t *info)
{
    READ_COMPUTE_INSTANCE(compute);
    NEED(info);
    unsigned int slices = (unsigned int)session.compute->slices;
    *info = (nvmlComputeInstanceInfo_t){
        .device = handle_make(HANDLE_GPU, session.gpu->index, 0, 0),
        .gpuInstance = handle_make(HANDLE_GPU_INSTANCE, session.gpu->index, session.instance->id, 0),
        .id = session.compute->id,
        .profileId = compute_profile_of(slices),
        .placement = {(unsigned int)session.compute->start, slices},
    };
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlComputeInstanceDestroy(nvmlHandle_t compute)
{
    CHANGE_COMPUTE_INSTANCE(compute);
    struct gpu *gpu = session.gpu;
    unsigned int gi = session.instance->id, ci = session.compute->id;
    for (unsigned int p = 0; p < gpu->process_count; p++)
        if (gpu->processes[p].gi == gi && gpu->processes[p].ci == ci && process_is_alive(&gpu->processes[p]))
            return NVML_ERROR_IN_USE;
    memset(session.compute, 0, sizeof *session.compute);
    state_add_event(session.host, gpu->index, EVENT_MIG_CONFIG_CHANGE, 0, gi, ci);
    nvmlReturn_t result = session_commit(&session);
    if (result == NVML_SUCCESS)
        node_remove_compute_instance(session.host, gpu, gi, ci);
    return result;
}
