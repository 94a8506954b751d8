/* What a cell is and how it counts: for the methods of cells (_cells.c), and for what counts a request (_traffic.c).

A number is 8 bytes, in the cell itself or in a word of memory that is shared with peer processes: the cell holds a
pointer to it, and counts where that points. It is changed by C11 atomics alone, with a compare-and-swap loop, so it is
exact without the GIL, and nothing can be interrupted: no lock is held, no Python code runs and nothing is allocated
between reading a number and writing the next. Readers in other processes see the old number or the new one.

What the GIL does guard is which memory the pointer names (bind, unbind, restart) and the keys of a Map. Without it
(Py_GIL_DISABLED) a cell is pinned while it is counted, and a Map takes its critical section. PYVARS_PIN pins with the
GIL, too, so that pinning can be tested there. */

#ifndef PYVARS_CELLS_H
#define PYVARS_CELLS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "structmember.h"

#if defined(Py_GIL_DISABLED) && !defined(PYVARS_PIN)
#define PYVARS_PIN
#endif

#if ATOMIC_LLONG_LOCK_FREE != 2
#error "counting in memory that processes share needs 64-bit atomics without a lock"
#endif

typedef _Atomic int64_t word_t; /* an integer, or the bits of a double */

typedef struct {
    PyObject_HEAD
    word_t *_Atomic word; /* where the number is: `own`, or in the memory of `words`; NULL while it moves */
    word_t own;
    PyObject *words; /* the memoryview that `word` is in, or NULL */
#ifdef PYVARS_PIN
    _Atomic int users;
#endif
    char gauge;
} Cell;

typedef struct {
    PyObject_HEAD
    PyObject *cells; /* str -> Int or Float */
    Py_ssize_t free; /* how many more keys it takes; `__other__` takes none */
} Counts;

/* The number: where it is, and changing it */

#ifndef Py_BEGIN_CRITICAL_SECTION /* CPython 3.13 has it */
#define Py_BEGIN_CRITICAL_SECTION(op) {
#define Py_END_CRITICAL_SECTION() }
#endif

#ifdef PYVARS_PIN
#include <sched.h>

static inline word_t *
pin(Cell *cell)
{
    for (;;) {
        atomic_fetch_add(&cell->users, 1);
        word_t *word = atomic_load(&cell->word);
        if (word != NULL)
            return word;
        atomic_fetch_sub(&cell->users, 1);
        sched_yield();
    }
}

static inline void
unpin(Cell *cell)
{
    atomic_fetch_sub(&cell->users, 1);
}
#else
#define pin(cell) atomic_load_explicit(&(cell)->word, memory_order_relaxed)
#define unpin(cell) ((void)0)
#endif

static inline int64_t
load(Cell *cell)
{
    int64_t value = atomic_load_explicit(pin(cell), memory_order_relaxed);
    unpin(cell);
    return value;
}

static inline void
store(Cell *cell, int64_t value)
{
    atomic_store_explicit(pin(cell), value, memory_order_relaxed);
    unpin(cell);
}

static inline double
real_of(int64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline int64_t
bits_of(double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Adding returns 0, or -1 with an error. */

static inline int
too_large(Cell *cell)
{
    PyErr_Format(PyExc_OverflowError,
                 "%lld and what was added do not fit into 64 bits with a sign; the value is unchanged",
                 (long long)load(cell));
    return -1;
}

static inline int
add_integer(Cell *cell, int64_t delta)
{
    word_t *word = pin(cell);
    int64_t value = atomic_load_explicit(word, memory_order_relaxed), sum;
    do {
        if (__builtin_add_overflow(value, delta, &sum)) {
            unpin(cell);
            return too_large(cell);
        }
    } while (!atomic_compare_exchange_weak_explicit(word, &value, sum, memory_order_relaxed, memory_order_relaxed));
    unpin(cell);
    return 0;
}

static inline int
add_real(Cell *cell, double delta)
{
    word_t *word = pin(cell);
    int64_t bits = atomic_load_explicit(word, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(word, &bits, bits_of(real_of(bits) + delta), memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
    unpin(cell);
    return 0;
}

/* What makes the objects of a class: it is inherited together with their layout. To look at it takes one comparison; to
   ask whether the class is a subclass takes a walk over its bases. */
static struct {
    newfunc integer, real, counts, buckets;
} makers;

#define IS_INTEGER(object) (Py_TYPE(object)->tp_new == makers.integer)
#define IS_REAL(object) (Py_TYPE(object)->tp_new == makers.real)
#define IS_COUNTS(object) (Py_TYPE(object)->tp_new == makers.counts)
#define IS_BUCKETS(object) (Py_TYPE(object)->tp_new == makers.buckets)

static inline PyObject *
find_cell(Counts *counts, PyObject *key) /* a new reference, or NULL, without an error if there is none */
{
    return Py_XNewRef(PyDict_GetItemWithError(counts->cells, key)); /* nobody takes it away meanwhile */
}

/* Distributions: see buckets.py */

#define LOWEST (-20)
#define OCTAVES 64
#define PARTS 8

typedef struct {
    PyObject_HEAD
    PyObject *sum;               /* a Float */
    PyObject **octaves[OCTAVES]; /* PARTS Ints each, or NULL; bucket n stands at n / PARTS, n % PARTS */
    PyObject *last[2];           /* those of the last two buckets: 2**44, and over that */
} Buckets;

static inline PyObject **
place_of(Buckets *buckets, Py_ssize_t n) /* where the cell of the bucket is, or NULL */
{
    if (n >= OCTAVES * PARTS)
        return &buckets->last[n - OCTAVES * PARTS];
    PyObject **octave = buckets->octaves[n / PARTS];
    return octave == NULL ? NULL : octave + n % PARTS;
}

static inline Py_ssize_t
bucket_of(double value)
{
    /* 2 ** (part / 8 - 1), as frexp gives fractions */
    static const double within[PARTS] = {0.5,
                                         0.5452538663326288,
                                         0.5946035575013605,
                                         0.6484197773255048,
                                         0.7071067811865476,
                                         0.7711054127039704,
                                         0.8408964152537145,
                                         0.9170040432046712};
    int exponent, part = 0;
    double fraction = frexp(value, &exponent);
    if (value <= ldexp(1.0, LOWEST))
        return 0;
    if (value > ldexp(1.0, LOWEST + OCTAVES))
        return OCTAVES * PARTS + 1;
    for (int step = PARTS / 2; step; step /= 2)
        part += step * (fraction > within[part + step]);
    return (Py_ssize_t)(exponent - 1 - LOWEST) * PARTS + part + (fraction > within[0]);
}

static inline PyObject *
find_bucket(Buckets *buckets, Py_ssize_t n) /* a new reference, or NULL with an error */
{
    PyObject **place, *cell;
    Py_BEGIN_CRITICAL_SECTION(buckets);
    place = place_of(buckets, n);
    cell = place == NULL ? NULL : Py_XNewRef(*place);
    Py_END_CRITICAL_SECTION();
    return cell == NULL ? PyObject_CallMethod((PyObject *)buckets, "_first", "n", n) : cell;
}

static inline int
observe_in(Buckets *buckets, Py_ssize_t n, double number) /* a number of bucket n: 0, or -1 with an error */
{
    PyObject *cell = find_bucket(buckets, n);
    int result = -1;
    if (cell == NULL)
        return -1;
    if (!IS_INTEGER(cell) || buckets->sum == NULL)
        PyErr_SetString(PyExc_TypeError, "the buckets of a Histogram are Ints, and its sum is a Float");
    else if (add_integer((Cell *)cell, 1) == 0)
        result = add_real((Cell *)buckets->sum, number);
    Py_DECREF(cell);
    return result;
}

#endif
