/* SPDX-License-Identifier: MIT
 * Device nodes decide who sees which GPU, as they do with the real driver. Only where the state says nodes=1; without, all is visible.
 * There is no driver behind the nodes: opening one gives ENXIO where file mode and cgroup allow it, which counts as visible.
 * To root in a service of the system every node that exists is visible, without trying.
 */
#ifndef DEVICE_NODES_H
#define DEVICE_NODES_H

#include "nvml_abi.h"
#include "state.h"

/* Call it when a process attaches: what an earlier session could open is forgotten. */
void node_session_begins(void);

/* /dev/nvidiactl, which nvmlInit opens first. UNKNOWN is what NVML says when it may not. */
nvmlReturn_t node_open_control(const struct host *host);

int node_gpu_visible(const struct host *host, const struct gpu *gpu);
int node_instance_visible(const struct host *host, const struct gpu *gpu, unsigned int gi, unsigned int ci);

/* nvidia-caps minors of a GPU instance and of a compute instance: 3 + 135 * GPU minor + 9 * GI, and that + 1 + CI. */
unsigned int gpu_instance_minor(const struct gpu *gpu, unsigned int gi);
unsigned int compute_instance_minor(const struct gpu *gpu, unsigned int gi, unsigned int ci);

/* Make or remove the nvidia-caps nodes of an instance, as the driver's user space does. Nothing without nodes=1. */
void node_add_gpu_instance(const struct host *host, const struct gpu *gpu, unsigned int gi);
void node_add_compute_instance(const struct host *host, const struct gpu *gpu, unsigned int gi, unsigned int ci);
void node_remove_gpu_instance(const struct host *host, const struct gpu *gpu, unsigned int gi);
void node_remove_compute_instance(const struct host *host, const struct gpu *gpu, unsigned int gi, unsigned int ci);

#endif
