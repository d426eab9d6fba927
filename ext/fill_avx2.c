/* Argon2 for AVX2. */
#if defined(__x86_64__)
#pragma GCC target("avx2,bmi,bmi2,fma")
#define VARIANT avx2
#define fill_segment fill_segment_avx2
#include "argon2/opt.c"
#include "pair.h"
#endif
