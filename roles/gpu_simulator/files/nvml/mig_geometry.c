/* SPDX-License-Identifier: MIT */
#include "mig_geometry.h"

#include <stddef.h>
#include <stdio.h>

static const unsigned int compute_slices_of[COMPUTE_PROFILES] = {1, 2, 3, 4, 7};

unsigned int gpu_instance_id(const struct gpu_profile *profile, unsigned int start)
{
    switch (profile->size) {
    case 8: return 0;
    case 4: return 1 + start / 4;
    case 2: return 3 + start / 2;
    default: return 7 + start;
    }
}

int placement_is_possible(const struct gpu_profile *profile, unsigned int start)
{
    for (unsigned int i = 0; i < profile->placement_count; i++)
        if (profile->starts[i] == start)
            return 1;
    return 0;
}

/* The memory slices in use as bits, with compute slices and instances of one profile counted on the way. */
static unsigned int occupied(const struct gpu *gpu, const struct gpu_profile *profile, unsigned int *compute, unsigned int *same)
{
    unsigned int bits = 0;
    *compute = *same = 0;
    for (int i = 0; i < MAX_GPU_INSTANCES; i++) {
        const struct gpu_instance *other = &gpu->instances[i];
        if (!other->present)
            continue;
        bits |= ((1u << other->profile->size) - 1) << other->start;
        *compute += other->profile->slices;
        *same += other->profile == profile;
    }
    return bits;
}

static unsigned int span(const struct gpu_profile *profile, unsigned int start)
{
    return ((1u << profile->size) - 1) << start;
}

int placement_is_free(const struct gpu *gpu, const struct gpu_profile *profile, unsigned int start)
{
    unsigned int compute, same, bits = occupied(gpu, profile, &compute, &same);
    return !(bits & span(profile, start)) && compute + profile->slices <= COMPUTE_SLICES && same < profile->max_instances;
}

int choose_placement(const struct gpu *gpu, const struct gpu_profile *profile)
{
    for (int i = (int)profile->placement_count - 1; i >= 0; i--)
        if (placement_is_free(gpu, profile, profile->starts[i]))
            return (int)profile->starts[i];
    return -1;
}

unsigned int remaining_capacity(const struct gpu *gpu, const struct gpu_profile *profile)
{
    unsigned int compute, same, count = 0, bits = occupied(gpu, profile, &compute, &same);
    for (unsigned int i = 0; i < profile->placement_count; i++) { /* placements of one profile do not overlap each other */
        if (bits & span(profile, profile->starts[i]))
            continue;
        if (compute + profile->slices > COMPUTE_SLICES || same == profile->max_instances)
            break;
        compute += profile->slices;
        same++;
        count++;
    }
    return count;
}

unsigned int compute_profile_slices(const struct gpu_profile *profile, unsigned int id)
{
    if (id >= COMPUTE_PROFILES || compute_slices_of[id] > profile->slices)
        return 0;
    if (compute_slices_of[id] == 3 && profile->slices == 4)
        return 0;
    return compute_slices_of[id];
}

unsigned int compute_profile_of(unsigned int slices)
{
    for (unsigned int id = 0; id < COMPUTE_PROFILES; id++)
        if (compute_slices_of[id] == slices)
            return id;
    return COMPUTE_PROFILES;
}

/* Starts are 0, 1, 2... for one slice, even for two, 0 and 4 for three, 0 for more. */
static unsigned int compute_stride(unsigned int slices)
{
    return slices == 3 ? 4 : slices;
}

unsigned int compute_placement_count(const struct gpu_profile *profile, unsigned int slices)
{
    return (profile->slices - slices) / compute_stride(slices) + 1;
}

unsigned int compute_placement_start(unsigned int slices, unsigned int k)
{
    return k * compute_stride(slices);
}

int compute_placement_is_free(const struct gpu_instance *instance, unsigned int slices, unsigned int start)
{
    if (start % compute_stride(slices) != 0 || start + slices > instance->profile->slices)
        return 0;
    for (int c = 0; c < MAX_COMPUTE_INSTANCES; c++) {
        const struct compute_instance *other = &instance->compute[c];
        if (other->present && start < other->start + other->slices && other->start < start + slices)
            return 0;
    }
    return 1;
}

int choose_compute_placement(const struct gpu_instance *instance, unsigned int slices)
{
    for (unsigned int k = 0; k < compute_placement_count(instance->profile, slices); k++)
        if (compute_placement_is_free(instance, slices, compute_placement_start(slices, k)))
            return (int)compute_placement_start(slices, k);
    return -1;
}

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
    return value ^ (value >> 31);
}

/* Any stable digest will do; the real one is a name-based UUID (version 5) over GPU, GI id and first engine. */
void mig_uuid(const struct gpu *gpu, unsigned int gi, unsigned int compute_start, char *text, size_t size)
{
    uint64_t seed = 0xcbf29ce484222325ull;
    for (const char *c = gpu->uuid; *c; c++)
        seed = (seed ^ (unsigned char)*c) * 0x100000001b3ull;
    uint64_t high = mix(seed + gi), low = mix(high + compute_start);
    snprintf(text, size, "MIG-%08x-%04x-5%03x-%04x-%012llx", (unsigned int)(high >> 32), (unsigned int)(high >> 16) & 0xffff, (unsigned int)high & 0xfff,
             0x8000u | ((unsigned int)(low >> 48) & 0x3fff), (unsigned long long)(low & 0xffffffffffffull));
}
