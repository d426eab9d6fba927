/* Argon2 for SSE2, which every x86-64 has. */
#if defined(__x86_64__)
#define VARIANT sse2
#define fill_segment fill_segment_sse2
#include "argon2/opt.c"
#include "pair.h"
#endif
