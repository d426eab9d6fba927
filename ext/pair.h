/* Fills the memory of two hashes turn by turn, so that neither waits for memory.
 *
 * Each block of Argon2 is computed from the one before it and from another one, anywhere in the memory, whose place is known
 * only when the one before it is done. Alone, a hash waits for that block to come from the L3 cache or from further away,
 * 39,000 times in our default profile. Here it is asked for, and meanwhile the block of the other hash is computed. The
 * blocks themselves are made by argon2/opt.c or argon2/ref.c, unchanged; only the order of the two hashes is ours.
 *
 * Included by one file for each SIMD variant, after VARIANT was defined and opt.c or ref.c included.
 */

#define JOINED_(a, b) a##_##b
#define JOINED(a, b) JOINED_(a, b)

/* Where one of the two hashes stands. */
struct filling {
#if defined(IS_REFERENCE)
    block zero;
#elif defined(__AVX512F__)
    __m512i state[ARGON2_512BIT_WORDS_IN_BLOCK];
#elif defined(__AVX2__)
    __m256i state[ARGON2_HWORDS_IN_BLOCK];
#else
    __m128i state[ARGON2_OWORDS_IN_BLOCK];
#endif
    block addresses, addresses_input;
    const argon2_instance_t *instance;
    const block *reference;
    uint32_t previous, current;
};

static void make_addresses(struct filling *f) {
#if defined(IS_REFERENCE)
    next_addresses(&f->addresses, &f->addresses_input, &f->zero);
#else
    next_addresses(&f->addresses, &f->addresses_input);
#endif
}

static void make_block(struct filling *f, int with_xor) {
    block *made = f->instance->memory + f->current;
#if defined(IS_REFERENCE)
    fill_block(f->instance->memory + f->previous, f->reference, made, with_xor);
#else
    fill_block(f->state, f->reference, made, with_xor);
#endif
    f->previous = f->current++;
}

/* Finds the block that the next one is made with, and asks the memory for it. As fill_segment in opt.c, for one lane. */
static void find_reference(struct filling *f, argon2_position_t position, int is_independent) {
    uint64_t pseudo_rand;
    const char *line;
    unsigned offset;
    if (is_independent) {
        if (position.index % ARGON2_ADDRESSES_IN_BLOCK == 0) {
            make_addresses(f);
        }
        pseudo_rand = f->addresses.v[position.index % ARGON2_ADDRESSES_IN_BLOCK];
    } else {
        pseudo_rand = f->instance->memory[f->previous].v[0];
    }
    f->reference = f->instance->memory + index_alpha(f->instance, &position, pseudo_rand & 0xFFFFFFFF, 1);
    line = (const char *)f->reference;
    for (offset = 0; offset < ARGON2_BLOCK_SIZE; offset += 64) {
        __builtin_prefetch(line + offset, 0, 3);
    }
}

/* Stands at the beginning of a segment. */
static void begin_segment(struct filling *f, argon2_position_t position, int is_independent) {
    const argon2_instance_t *instance = f->instance;
    if (is_independent) {
        init_block_value(&f->addresses_input, 0);
        f->addresses_input.v[0] = position.pass;
        f->addresses_input.v[1] = position.lane;
        f->addresses_input.v[2] = position.slice;
        f->addresses_input.v[3] = instance->memory_blocks;
        f->addresses_input.v[4] = instance->passes;
        f->addresses_input.v[5] = instance->type;
        if (position.index != 0) { /* else find_reference makes them */
            make_addresses(f);
        }
    }
    f->current = position.slice * instance->segment_length + position.index;
    f->previous = f->current == 0 ? instance->lane_length - 1 : f->current - 1;
#if !defined(IS_REFERENCE)
    memcpy(f->state, instance->memory[f->previous].v, ARGON2_BLOCK_SIZE);
#endif
    find_reference(f, position, is_independent);
}

/* As fill_memory_blocks in core.c, for two instances that are alike but for their memory, of one lane each. */
void JOINED(fill_pair, VARIANT)(const argon2_instance_t *one, const argon2_instance_t *other) {
    struct filling a, b;
    argon2_position_t position = {0, 0, 0, 0};
    a.instance = one;
    b.instance = other;
#if defined(IS_REFERENCE)
    init_block_value(&a.zero, 0);
    init_block_value(&b.zero, 0);
#endif
    for (position.pass = 0; position.pass < one->passes; ++position.pass) {
        int with_xor = position.pass != 0 && one->version != ARGON2_VERSION_10;
        for (position.slice = 0; position.slice < ARGON2_SYNC_POINTS; ++position.slice) {
            int is_independent = one->type == Argon2_i || (one->type == Argon2_id && position.pass == 0 &&
                                                           position.slice < ARGON2_SYNC_POINTS / 2);
            /* The first two blocks of all are there already. */
            position.index = position.pass == 0 && position.slice == 0 ? 2 : 0;
            if (position.index == one->segment_length) {
                continue; /* 8 KiB in all, and the first two blocks are the segment */
            }
            begin_segment(&a, position, is_independent);
            begin_segment(&b, position, is_independent);
            for (;;) {
                int is_last = ++position.index == one->segment_length;
                make_block(&a, with_xor);
                if (!is_last) {
                    find_reference(&a, position, is_independent);
                }
                make_block(&b, with_xor);
                if (is_last) {
                    break;
                }
                find_reference(&b, position, is_independent);
            }
        }
    }
}
