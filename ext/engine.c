/* Computes Argon2 in memory that its thread keeps, one hash at a time or two in turn, with the best SIMD of this CPU.
 *
 * What it computes is argon2/, unchanged; what is ours is where the memory comes from, which of several builds of the same
 * source runs, and the order of pair.h. tidegate.passwords.engine calls it, and knows why.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <string.h>
#include <sys/mman.h>

#include "argon2/argon2.h"
#include "argon2/core.h"

#if !defined(MAP_ANONYMOUS)
#define MAP_ANONYMOUS MAP_ANON
#endif

/* SIMD variants: the same two functions of each, the best first. */

typedef void fill_segment_fn(const argon2_instance_t *, argon2_position_t);
typedef void fill_pair_fn(const argon2_instance_t *, const argon2_instance_t *);

#define DECLARE(variant) fill_segment_fn fill_segment_##variant; fill_pair_fn fill_pair_##variant;
#if defined(__x86_64__)
DECLARE(avx512)
DECLARE(avx2)
DECLARE(sse2)
#endif
DECLARE(reference)

struct variant {
    const char *name;
    fill_segment_fn *fill_segment;
    fill_pair_fn *fill_pair;
};

#define ENTRY(variant) {#variant, fill_segment_##variant, fill_pair_##variant}
static const struct variant variants[] = {
#if defined(__x86_64__)
    ENTRY(avx512), ENTRY(avx2), ENTRY(sse2),
#endif
    ENTRY(reference),
};
#define VARIANTS (sizeof variants / sizeof variants[0])

static const struct variant *chosen;

/* Asks the CPU, and whether the system saves its wide registers. */
static int can_run(const struct variant *variant) {
#if defined(__x86_64__)
    if (strcmp(variant->name, "avx512") == 0) {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
               __builtin_cpu_supports("fma");
    }
    if (strcmp(variant->name, "avx2") == 0) {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
               __builtin_cpu_supports("fma");
    }
#endif
    return 1;
}

/* What argon2/core.c calls. */
void fill_segment(const argon2_instance_t *instance, argon2_position_t position) {
    chosen->fill_segment(instance, position);
}

/* Memory. Whole huge pages, at their boundary: no block lies across two cache lines, and a hash faults 10 times, not 5,000.
 * A thread keeps what it needs for two hashes of up to keep_bytes_max each; for a bigger one it maps, and gives back. */

#define HUGE_PAGE ((size_t)2 << 20)

struct arena {
    uint8_t *memory;
    size_t size;
};

static _Thread_local struct arena kept[2];
static _Thread_local size_t keep_bytes_max;
static _Thread_local unsigned turn; /* for which of the two hashes memory is asked */

static size_t in_huge_pages(size_t size) { return (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1); }

static uint8_t *map(size_t size) {
    uint8_t *mapped = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t before;
    if (mapped == MAP_FAILED) {
        return NULL;
    }
    before = (HUGE_PAGE - ((uintptr_t)mapped & (HUGE_PAGE - 1))) & (HUGE_PAGE - 1);
    if (before != 0) {
        munmap(mapped, before);
    }
    munmap(mapped + before + size, HUGE_PAGE - before);
    mapped += before;
    /* Wishes both: where the system does not grant them, it is slower, or a core dump holds more. */
#if defined(MADV_HUGEPAGE)
    madvise(mapped, size, MADV_HUGEPAGE);
#endif
#if defined(MADV_DONTDUMP)
    madvise(mapped, size, MADV_DONTDUMP);
#endif
    return mapped;
}

static void unkeep(struct arena *arena) {
    if (arena->memory != NULL) {
        munmap(arena->memory, arena->size); /* the kernel clears it before anybody else sees it */
    }
    arena->memory = NULL;
    arena->size = 0;
}

static int take(uint8_t **memory, size_t size) {
    struct arena *arena = &kept[turn];
    size_t mapped_size = in_huge_pages(size);
    if (size > keep_bytes_max) {
        *memory = map(mapped_size);
        return *memory == NULL ? ARGON2_MEMORY_ALLOCATION_ERROR : ARGON2_OK;
    }
    if (arena->size < mapped_size) {
        unkeep(arena);
        arena->memory = map(mapped_size);
        arena->size = arena->memory == NULL ? 0 : mapped_size;
    }
    *memory = arena->memory;
    return *memory == NULL ? ARGON2_MEMORY_ALLOCATION_ERROR : ARGON2_OK;
}

static void give_back(uint8_t *memory, size_t size) {
    if (memory != kept[0].memory && memory != kept[1].memory) {
        munmap(memory, in_huge_pages(size));
    }
}

/* Hashes. */

/* As argon2_ctx in argon2.c of the reference, up to the filling. */
static int prepare(argon2_instance_t *instance, argon2_context *context, argon2_type type, unsigned which) {
    int failure = validate_inputs(context);
    if (failure != ARGON2_OK) {
        return failure;
    }
    memset(instance, 0, sizeof *instance);
    instance->version = context->version;
    instance->passes = context->t_cost;
    instance->segment_length = context->m_cost / (context->lanes * ARGON2_SYNC_POINTS);
    instance->lane_length = instance->segment_length * ARGON2_SYNC_POINTS;
    instance->memory_blocks = instance->lane_length * context->lanes;
    instance->lanes = context->lanes;
    instance->threads = 1;
    instance->type = type;
    turn = which;
    return initialize(instance, context);
}

static int compute(argon2_context *contexts, unsigned count, argon2_type type) {
    argon2_instance_t instances[2];
    unsigned which;
    for (which = 0; which < count; ++which) {
        int failure = prepare(&instances[which], &contexts[which], type, which);
        if (failure != ARGON2_OK) {
            if (which == 1) {
                give_back((uint8_t *)instances[0].memory, (size_t)instances[0].memory_blocks * ARGON2_BLOCK_SIZE);
            }
            return failure;
        }
    }
    if (count == 2) {
        chosen->fill_pair(&instances[0], &instances[1]);
    } else {
        fill_memory_blocks(&instances[0]);
    }
    for (which = 0; which < count; ++which) {
        finalize(&contexts[which], &instances[which]);
    }
    return ARGON2_OK;
}

/* From Python. */

static PyObject *digests(PyObject *Py_UNUSED(module), PyObject *arguments) {
    argon2_context contexts[2];
    PyObject *inputs, *made = NULL;
    unsigned type, version, memory_cost_kib, time_cost, lanes, which, count;
    int result;
    if (!PyArg_ParseTuple(arguments, "IIIIIO!:digests", &type, &version, &memory_cost_kib, &time_cost, &lanes,
                          &PyTuple_Type, &inputs)) {
        return NULL;
    }
    count = (unsigned)PyTuple_Size(inputs);
    if (count < 1 || count > 2 || (count == 2 && lanes != 1) || type > Argon2_id ||
        (version != ARGON2_VERSION_10 && version != ARGON2_VERSION_13)) {
        PyErr_SetString(PyExc_ValueError, "not one hash, nor two of one lane, of a type and version of Argon2");
        return NULL;
    }
    memset(contexts, 0, sizeof contexts);
    made = PyTuple_New(count);
    for (which = 0; made != NULL && which < count; ++which) {
        argon2_context *context = &contexts[which];
        const char *password, *salt;
        Py_ssize_t password_size, salt_size, size;
        PyObject *digest;
        if (!PyArg_ParseTuple(PyTuple_GetItem(inputs, which), "y#y#n:digests", &password, &password_size, &salt,
                              &salt_size, &size)) {
            Py_CLEAR(made);
            break;
        }
        digest = size < 4 || size > 1024 ? NULL : PyBytes_FromStringAndSize(NULL, size);
        if (digest == NULL) {
            if (!PyErr_Occurred()) {
                PyErr_SetString(PyExc_ValueError, "a digest has 4 to 1,024 bytes");
            }
            Py_CLEAR(made);
            break;
        }
        PyTuple_SetItem(made, which, digest);
        context->out = (uint8_t *)PyBytes_AsString(digest);
        context->outlen = (uint32_t)size;
        context->pwd = (uint8_t *)password; /* read only: no flag asks for them to be cleared */
        context->pwdlen = (uint32_t)password_size;
        context->salt = (uint8_t *)salt;
        context->saltlen = (uint32_t)salt_size;
        context->version = version;
        context->t_cost = time_cost;
        context->m_cost = memory_cost_kib;
        context->lanes = lanes;
        context->threads = 1;
        context->allocate_cbk = take;
        context->free_cbk = give_back;
    }
    if (made == NULL) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    result = compute(contexts, count, (argon2_type)type);
    Py_END_ALLOW_THREADS
    if (result == ARGON2_OK) {
        return made;
    }
    Py_DECREF(made);
    if (result == ARGON2_MEMORY_ALLOCATION_ERROR) {
        return PyErr_NoMemory();
    }
    return PyErr_Format(PyExc_ValueError, "Argon2 refuses these parameters (%d)", result);
}

static PyObject *keep(PyObject *Py_UNUSED(module), PyObject *size) {
    size_t bytes_max = PyLong_AsSize_t(size);
    if (bytes_max == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    keep_bytes_max = bytes_max;
    Py_RETURN_NONE;
}

static PyObject *release(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    unkeep(&kept[0]);
    unkeep(&kept[1]);
    Py_RETURN_NONE;
}

static PyObject *held(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    return PyLong_FromSize_t(kept[0].size + kept[1].size);
}

static PyObject *runnable(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    PyObject *names = PyList_New(0);
    size_t index;
    for (index = 0; names != NULL && index < VARIANTS; ++index) {
        if (can_run(&variants[index])) {
            PyObject *name = PyUnicode_FromString(variants[index].name);
            if (name == NULL || PyList_Append(names, name) != 0) {
                Py_CLEAR(names);
            }
            Py_XDECREF(name);
        }
    }
    return names;
}

static PyObject *choose(PyObject *Py_UNUSED(module), PyObject *wanted) {
    size_t index;
    for (index = 0; index < VARIANTS; ++index) {
        PyObject *name = PyUnicode_FromString(variants[index].name);
        int is_wanted = name == NULL ? -1 : PyObject_RichCompareBool(name, wanted, Py_EQ);
        Py_XDECREF(name);
        if (is_wanted < 0) {
            return NULL;
        }
        if (is_wanted && can_run(&variants[index])) {
            chosen = &variants[index];
            Py_RETURN_NONE;
        }
    }
    PyErr_SetString(PyExc_ValueError, "this CPU has no such variant");
    return NULL;
}

static PyObject *variant_name(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    return PyUnicode_FromString(chosen->name);
}

static PyMethodDef methods[] = {
    {"digests", digests, METH_VARARGS,
     "digests(type, version, memory_cost_kib, time_cost, lanes, ((password, salt, digest_size), ...))\n\n"
     "The digests of one hash, or of two of one lane, computed in turn."},
    {"keep", keep, METH_O, "Let the calling thread keep the memory of two hashes of up to so many bytes each."},
    {"release", release, METH_NOARGS, "Give back what the calling thread keeps."},
    {"held", held, METH_NOARGS, "Bytes that the calling thread keeps now."},
    {"runnable", runnable, METH_NOARGS, "Names of the SIMD variants that this CPU can run, the best first."},
    {"choose", choose, METH_O, "Compute with this variant from now on, on every thread."},
    {"variant", variant_name, METH_NOARGS, "The name of the variant in use."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_argon2", "Argon2 in kept memory: see tidegate.passwords.engine.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__argon2(void) {
    size_t index;
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    for (index = 0; chosen == NULL; ++index) {
        if (can_run(&variants[index])) {
            chosen = &variants[index];
        }
    }
    /* The memory is not cleared after each hash: the next one writes over it, and `release` gives it to the kernel, which
     * clears it (ADR 0012). */
    FLAG_clear_internal_memory = 0;
    return PyModule_Create(&definition);
}
