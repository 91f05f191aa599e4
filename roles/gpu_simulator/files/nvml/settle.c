/* SPDX-License-Identifier: MIT
 * For ds01-gpusim alone: write down what a reboot has done to a state, as the first change after it would.
 */
#include "session.h"
#include "state_file.h"

NVML_API int ds01sim_settle(const char *path);
NVML_API int ds01sim_settle(const char *path)
{
    struct host *host;
    state_file_open_at(path);
    nvmlReturn_t result = state_file_lock(&host);
    if (result == NVML_SUCCESS)
        result = state_file_write();
    state_file_unlock();
    return result;
}
