/* SPDX-License-Identifier: MIT
 * GPU models that can be simulated, and the MIG profiles of each.
 */
#ifndef MODELS_H
#define MODELS_H

#define MAX_PLACEMENTS 7
#define MAX_PROFILES 7

/* One kind of GPU instance. Placements are on the memory axis: eight slices, of which an instance takes `size`. */
struct gpu_profile {
    const char *name;       /* as NVML prints it after "MIG " */
    unsigned int number;    /* NVML_GPU_INSTANCE_PROFILE_* */
    unsigned int id;        /* the driver's profile id, what instances carry */
    unsigned int slices;    /* compute slices */
    unsigned int memory_mb;
    unsigned int multiprocessors;
    unsigned int max_instances;
    unsigned int size;      /* memory slices */
    unsigned int placement_count;
    unsigned int starts[MAX_PLACEMENTS];
    unsigned int copy_engines, decoders, jpegs, ofas;
};

struct model {
    const char *key;        /* name in the state file */
    const char *name;       /* what NVML reports */
    unsigned int architecture; /* NVML_DEVICE_ARCH_* */
    int cuda_major, cuda_minor;
    unsigned int memory_mb;
    unsigned int pci_device_id, pci_subsystem_id;
    unsigned int cores;
    unsigned int power_limit_mw, power_min_mw;
    unsigned int max_sm_mhz, memory_mhz;
    unsigned int memory_bus_bits;
    unsigned int pcie_generation;
    int resetless_mig;      /* Hopper and later: mode switch without GPU reset, mode lost on reboot */
    struct gpu_profile profiles[MAX_PROFILES];
};

/* The model with that key, or NULL. */
const struct model *model_by_key(const char *key);

const struct gpu_profile *profile_by_id(const struct model *model, unsigned int id);
const struct gpu_profile *profile_by_number(const struct model *model, unsigned int number);

#endif
