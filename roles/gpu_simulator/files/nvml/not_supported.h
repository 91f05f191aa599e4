/* SPDX-License-Identifier: MIT
 * Entry points that exist and do nothing but say NOT_SUPPORTED; see Makefile. Arguments are left where they are.
 */
#ifndef NOT_SUPPORTED_H
#define NOT_SUPPORTED_H

#include "session.h"

#define NOT_SUPPORTED(name) \
    NVML_API nvmlReturn_t name(void); \
    NVML_API nvmlReturn_t name(void) \
    { \
        READ_HOST(); \
        return NVML_ERROR_NOT_SUPPORTED; \
    }

#endif
