/* Argon2 for AVX-512. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,bmi,bmi2,fma")
#define VARIANT avx512
#define fill_segment fill_segment_avx512
#include "argon2/opt.c"
#include "pair.h"
#endif
