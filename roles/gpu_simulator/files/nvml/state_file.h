/* SPDX-License-Identifier: MIT
 * The state file: who reads it, who writes it, and how the two do not meet half-way.
 * Readers take whatever version is complete. Writers hold a lock beside the file, read, change, and rename a new one into place.
 */
#ifndef STATE_FILE_H
#define STATE_FILE_H

#include "nvml_abi.h"
#include "state.h"

/* Path in force: $DS01SIM_STATE, or /run/ds01-gpusim/state. Fixed by state_file_open. */
const char *state_file_path(void);

/* Remember the path and this boot's id. The second form takes a path of its own. */
void state_file_open(void);
void state_file_open_at(const char *wanted);

/* The state as it is now. DRIVER_NOT_LOADED where there is no readable state. */
nvmlReturn_t state_file_read(struct host **host);

/* The same under the writers' lock, which stays held until state_file_unlock. */
nvmlReturn_t state_file_lock(struct host **host);

/* Put what was locked and changed into place. */
nvmlReturn_t state_file_write(void);

/* Release the lock if it is held. What was not written is forgotten. */
void state_file_unlock(void);

#endif
