/* SPDX-License-Identifier: MIT
 * Sources: MIG User Guide (profile tables of A100, H100, H200) and listings of `nvidia-smi mig -lgip` and `-lgipp`.
 * All of this family share one geometry: eight memory slices, seven compute slices. Sizes in MiB differ a little by
 * driver version; these are those of one version.
 */
#include "models.h"

#include <stddef.h>
#include <string.h>

#define ANYWHERE_1 7, {0, 1, 2, 3, 4, 5, 6}
#define EVERY_2 4, {0, 2, 4, 6}
#define FIRST_THREE_2 3, {0, 2, 4}
#define HALVES 2, {0, 4}
#define AT_0 1, {0}

/* name, number, id, compute slices, MiB, SMs, max, memory slices, placements, copy engines, decoders, JPEG, OFA */
static const struct model models[] = {
    {"a100-40gb", "NVIDIA A100-PCIE-40GB", 7, 8, 0, 40960, 0x20F110DE, 0x145F10DE, 6912, 250000, 150000, 1410, 1215, 5120, 4, 0,
     {{"1g.5gb",    0, 19, 1,  4864, 14, 7, 1, ANYWHERE_1,    1, 0, 0, 0},
      {"1g.5gb+me", 7, 20, 1,  4864, 14, 1, 1, ANYWHERE_1,    1, 1, 1, 1},
      {"1g.10gb",   9, 15, 1,  9856, 14, 4, 2, EVERY_2,       1, 1, 0, 0},
      {"2g.10gb",   1, 14, 2,  9856, 28, 3, 2, FIRST_THREE_2, 2, 1, 0, 0},
      {"3g.20gb",   2,  9, 3, 19968, 42, 2, 4, HALVES,        3, 2, 0, 0},
      {"4g.20gb",   3,  5, 4, 19968, 56, 1, 4, AT_0,          4, 2, 0, 0},
      {"7g.40gb",   4,  0, 7, 40192, 98, 1, 8, AT_0,          7, 5, 1, 1}}},

    {"a100-80gb", "NVIDIA A100 80GB PCIe", 7, 8, 0, 81920, 0x20B510DE, 0x153310DE, 6912, 300000, 150000, 1410, 1512, 5120, 4, 0,
     {{"1g.10gb",    0, 19, 1,  9728, 14, 7, 1, ANYWHERE_1,    1, 0, 0, 0},
      {"1g.10gb+me", 7, 20, 1,  9728, 14, 1, 1, ANYWHERE_1,    1, 1, 1, 1},
      {"1g.20gb",    9, 15, 1, 19968, 14, 4, 2, EVERY_2,       1, 1, 0, 0},
      {"2g.20gb",    1, 14, 2, 19968, 28, 3, 2, FIRST_THREE_2, 2, 1, 0, 0},
      {"3g.40gb",    2,  9, 3, 40192, 42, 2, 4, HALVES,        3, 2, 0, 0},
      {"4g.40gb",    3,  5, 4, 40192, 56, 1, 4, AT_0,          4, 2, 0, 0},
      {"7g.80gb",    4,  0, 7, 80384, 98, 1, 8, AT_0,          7, 5, 1, 1}}},

    {"h100-80gb", "NVIDIA H100 80GB HBM3", 9, 9, 0, 81559, 0x233010DE, 0x16C110DE, 16896, 700000, 200000, 1980, 2619, 5120, 5, 1,
     {{"1g.10gb",    0, 19, 1,  9984,  16, 7, 1, ANYWHERE_1,    1, 1, 1, 0},
      {"1g.10gb+me", 7, 20, 1,  9984,  16, 1, 1, ANYWHERE_1,    1, 1, 1, 1},
      {"1g.20gb",    9, 15, 1, 20096,  26, 4, 2, EVERY_2,       1, 1, 1, 0},
      {"2g.20gb",    1, 14, 2, 20096,  32, 3, 2, FIRST_THREE_2, 2, 2, 2, 0},
      {"3g.40gb",    2,  9, 3, 40448,  60, 2, 4, HALVES,        3, 3, 3, 0},
      {"4g.40gb",    3,  5, 4, 40448,  64, 1, 4, AT_0,          4, 4, 4, 0},
      {"7g.80gb",    4,  0, 7, 81152, 132, 1, 8, AT_0,          8, 7, 7, 1}}},

    {"h200-141gb", "NVIDIA H200", 9, 9, 0, 143771, 0x233510DE, 0x18BE10DE, 16896, 700000, 200000, 1980, 3201, 6144, 5, 1,
     {{"1g.18gb",    0, 19, 1,  16384,  16, 7, 1, ANYWHERE_1,    1, 1, 1, 0},
      {"1g.18gb+me", 7, 20, 1,  16384,  16, 1, 1, ANYWHERE_1,    1, 1, 1, 1},
      {"1g.35gb",    9, 15, 1,  33024,  26, 4, 2, EVERY_2,       1, 1, 1, 0},
      {"2g.35gb",    1, 14, 2,  33024,  32, 3, 2, FIRST_THREE_2, 2, 2, 2, 0},
      {"3g.71gb",    2,  9, 3,  71168,  60, 2, 4, HALVES,        3, 3, 3, 0},
      {"4g.71gb",    3,  5, 4,  71168,  64, 1, 4, AT_0,          4, 4, 4, 0},
      {"7g.141gb",   4,  0, 7, 143360, 132, 1, 8, AT_0,          8, 7, 7, 1}}},
};

const struct model *model_by_key(const char *key)
{
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        if (strcmp(models[i].key, key) == 0)
            return &models[i];
    return NULL;
}

const struct gpu_profile *profile_by_id(const struct model *model, unsigned int id)
{
    for (int i = 0; i < MAX_PROFILES; i++)
        if (model->profiles[i].id == id)
            return &model->profiles[i];
    return NULL;
}

const struct gpu_profile *profile_by_number(const struct model *model, unsigned int number)
{
    for (int i = 0; i < MAX_PROFILES; i++)
        if (model->profiles[i].number == number)
            return &model->profiles[i];
    return NULL;
}
