/* Argon2 in plain C, for every other CPU. */
#define VARIANT reference
#define IS_REFERENCE
#define fill_segment fill_segment_reference
#include "argon2/ref.c"
#include "pair.h"
