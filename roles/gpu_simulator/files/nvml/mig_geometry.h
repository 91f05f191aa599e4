/* SPDX-License-Identifier: MIT
 * Where MIG instances can stand. Memory axis of eight slices for GPU instances, compute slices within an instance for compute instances.
 */
#ifndef MIG_GEOMETRY_H
#define MIG_GEOMETRY_H

#include "state.h"

#define COMPUTE_SLICES 7
#define COMPUTE_PROFILES 5 /* ids 0..4: 1, 2, 3, 4 and 7 slices */

/* GPU instance id (the driver's "swizz id"): a fixed function of the span. 8 slices: 0; 4: 1, 2; 2: 3..6; 1: 7..14. */
unsigned int gpu_instance_id(const struct gpu_profile *profile, unsigned int start);

/* Whether an instance of that profile can be made at that start now. */
int placement_is_free(const struct gpu *gpu, const struct gpu_profile *profile, unsigned int start);

/* Whether the start is one of the profile's. */
int placement_is_possible(const struct gpu_profile *profile, unsigned int start);

/* The start that the driver picks when it may choose: the highest free one. -1 where there is none. */
int choose_placement(const struct gpu *gpu, const struct gpu_profile *profile);

/* How many instances of that profile can still be made. */
unsigned int remaining_capacity(const struct gpu *gpu, const struct gpu_profile *profile);

/* Compute slices of compute instance profile `id`; 0 where an instance of that profile does not offer it. */
unsigned int compute_profile_slices(const struct gpu_profile *profile, unsigned int id);

/* Id of the compute instance profile with that many slices. */
unsigned int compute_profile_of(unsigned int slices);

/* How many compute instances of that many slices an empty instance holds, and the k-th start. */
unsigned int compute_placement_count(const struct gpu_profile *profile, unsigned int slices);
unsigned int compute_placement_start(unsigned int slices, unsigned int k);

int compute_placement_is_free(const struct gpu_instance *instance, unsigned int slices, unsigned int start);

/* The lowest free start, or -1. */
int choose_compute_placement(const struct gpu_instance *instance, unsigned int slices);

/* UUID of the MIG device of a compute instance: the same whenever an instance stands in the same place. size >= 41. */
void mig_uuid(const struct gpu *gpu, unsigned int gi, unsigned int compute_start, char *text, size_t size);

#endif
