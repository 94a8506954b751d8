/* The classes of cells.py, counts.py and buckets.py in C, only for speed. Those modules do the same in Python, and
document what each function does.

A number is 8 bytes, in the cell itself or in a word of memory that is shared with peers. The cell holds a pointer to
its number. A number is changed only by C11 atomics, in a compare-and-swap loop, so counting is exact without the GIL,
too. No lock is held, no Python code runs and nothing is allocated between reading a number and writing the next one, so
nothing can interrupt that. Readers in other processes see either the old number or the new one.

The GIL guards only the pointer of a cell (bind, unbind and restart change it) and the keys of a Map. Without the GIL
(Py_GIL_DISABLED) a cell is pinned while its number is read or changed; and functions that change a pointer, or the
cells of a Map or of Buckets, enter the critical section of the object. The macro PYVARS_PIN turns on pinning with the
GIL, too, for tests.

No call from Python, with whatever arguments, may corrupt memory. So no borrowed reference is used after an operation
that may run code of the program: hashing or comparing a key, converting a number, an allocation (which may collect
garbage), and giving up a reference. */

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
    word_t *_Atomic word; /* points to the number: `own`, or a word of `words`; NULL while the number moves */
    word_t own;
    PyObject *words; /* the memoryview that `word` points into, see `hold`; NULL if the number is in `own` */
#ifdef PYVARS_PIN
    _Atomic int users;
#endif
    char gauge;
} Cell;

typedef struct {
    PyObject_HEAD
    PyObject *cells; /* str -> Int or Float; always the same dict, since a lookup may run code that calls us */
    Py_ssize_t limit; /* the maximum number of keys, without `__other__` */
} Counts;

/* Reading and changing the number of a cell */

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

/* `too_large` and the functions that add return 0, or -1 with an exception set. */

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

/* The tp_new of each base class. Subclasses inherit it together with the memory layout, so one comparison tells the
   kind of an object. A subclass check would have to search the bases of its class. */
static struct {
    newfunc integer, real, counts, buckets;
} makers;

#define IS_INTEGER(object) (Py_TYPE(object)->tp_new == makers.integer)
#define IS_REAL(object) (Py_TYPE(object)->tp_new == makers.real)
#define IS_COUNTS(object) (Py_TYPE(object)->tp_new == makers.counts)
#define IS_BUCKETS(object) (Py_TYPE(object)->tp_new == makers.buckets)

static inline PyObject *
find_cell(Counts *counts, PyObject *key) /* a new reference, or NULL; a missing key sets no exception */
{
#ifdef Py_GIL_DISABLED /* another thread may get the dict from gc.get_referents(), and remove the cell */
    PyObject *cell;
    PyDict_GetItemRef(counts->cells, key, &cell);
    return cell;
#else
    return Py_XNewRef(PyDict_GetItemWithError(counts->cells, key));
#endif
}

/* Distributions: see buckets.py */

#define LOWEST (-20)
#define OCTAVES 64
#define PARTS 8

typedef struct {
    PyObject_HEAD
    PyObject *sum;               /* a Float */
    PyObject **octaves[OCTAVES]; /* PARTS Ints each, or NULL; bucket n is [n / PARTS][n % PARTS] */
    PyObject *last[2];           /* Ints of the last two buckets: up to 2**44, and over it */
    double *bounds;              /* upper bounds that were given, of buckets 0 to number - 1; NULL if there are none */
    Py_ssize_t number;           /* of these bounds */
} Buckets;

static inline PyObject **
place_of(Buckets *buckets, Py_ssize_t n) /* the address of the pointer to the cell, or NULL */
{
    if (n >= OCTAVES * PARTS)
        return &buckets->last[n - OCTAVES * PARTS];
    PyObject **octave = buckets->octaves[n / PARTS];
    return octave == NULL ? NULL : octave + n % PARTS;
}

static inline Py_ssize_t
bucket_of(double value)
{
    /* 2 ** (part / 8 - 1): the bounds within a power of 2, as fractions that frexp() returns */
    static const double within[PARTS] = {0.5,
                                         0.5452538663326288,
                                         0.5946035575013605,
                                         0.6484197773255048,
                                         0.7071067811865476,
                                         0.7711054127039704,
                                         0.8408964152537145,
                                         0.9170040432046712};
    if (value <= ldexp(1.0, LOWEST)) /* also 0 and subnormal numbers, which the bit operations below cannot handle */
        return 0;
    if (value > ldexp(1.0, LOWEST + OCTAVES))
        return OCTAVES * PARTS + 1;
    /* frexp() by hand: that function is in another library, whose code is usually not in the caches of the CPU. */
    int64_t bits = bits_of(value);
    int exponent = (int)(bits >> 52) - 1022, part = 0;
    double fraction = real_of((bits & 0xFFFFFFFFFFFFF) | 0x3FE0000000000000);
    for (int step = PARTS / 2; step; step /= 2)
        part += step * (fraction > within[part + step]);
    return (Py_ssize_t)(exponent - 1 - LOWEST) * PARTS + part + (fraction > within[0]);
}

static inline Py_ssize_t
own_bucket_of(Buckets *buckets, double value) /* bisect_left */
{
    Py_ssize_t low = 0, high;
    Py_BEGIN_CRITICAL_SECTION(buckets);
    high = buckets->number;
    while (low < high) {
        Py_ssize_t middle = (low + high) / 2;
        if (buckets->bounds[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    Py_END_CRITICAL_SECTION();
    return low;
}

static inline PyObject *
known_bucket(Buckets *buckets, Py_ssize_t n) /* a new reference, or NULL without an exception */
{
    PyObject **place, *cell;
    Py_BEGIN_CRITICAL_SECTION(buckets);
    place = place_of(buckets, n);
    cell = place == NULL ? NULL : Py_XNewRef(*place);
    Py_END_CRITICAL_SECTION();
    return cell;
}

static inline PyObject *
find_bucket(Buckets *buckets, Py_ssize_t n) /* a new reference, or NULL with an exception set */
{
    PyObject *cell = known_bucket(buckets, n);
    return cell == NULL ? PyObject_CallMethod((PyObject *)buckets, "_first", "n", n) : cell;
}

static inline int
observe_in(Buckets *buckets, Py_ssize_t n, double number) /* returns 0, or -1 with an exception set */
{
    PyObject *cell = find_bucket(buckets, n);
    int result = -1;
    if (cell == NULL)
        return -1;
    Py_BEGIN_CRITICAL_SECTION(buckets);
    if (!IS_INTEGER(cell) || buckets->sum == NULL)
        PyErr_SetString(PyExc_TypeError, "the buckets of a Histogram are Ints, and its sum is a Float");
    else if (add_integer((Cell *)cell, 1) == 0)
        result = add_real((Cell *)buckets->sum, number);
    Py_END_CRITICAL_SECTION();
    Py_DECREF(cell);
    return result;
}

#ifdef PYVARS_PIN
/* Begins to move the number of a cell, and returns where it is. Until `move` ends, threads that count in this cell
   wait, and so does a second thread that moves it. The waits here have a limit, because a forked child does not have
   the threads that were counting in the cell, or moving it, at the fork. Otherwise they take nanoseconds. */
static word_t *
lift(Cell *cell)
{
    word_t *word = NULL;
    for (int turn = 0; turn < 100000 && (word = atomic_exchange(&cell->word, NULL)) == NULL; turn++)
        sched_yield();
    for (int turn = 0; turn < 100000 && atomic_load(&cell->users) > 0; turn++)
        sched_yield();
    if (atomic_load(&cell->users) > 0)
        atomic_store(&cell->users, 0);
    return word == NULL ? &cell->own : word;
}
#else
#define lift(cell) pin(cell)
#endif

/* `hold` takes a buffer of the memoryview, so that nobody can release the memoryview, and with it the memory. The cell
   does not keep the Py_buffer, which has 80 bytes: `let_go` makes it again from that of the memoryview. */

static PyObject *
hold(PyObject *words) /* a new reference, or NULL with an exception set */
{
    Py_buffer view;
    return PyObject_GetBuffer(words, &view, PyBUF_FULL_RO) < 0 ? NULL : view.obj;
}

static void
let_go(PyObject *words) /* may be NULL; may run code of the program */
{
    if (words != NULL) {
        Py_buffer view = *PyMemoryView_GET_BUFFER(words);
        view.obj = words;
        PyBuffer_Release(&view);
    }
}

static PyObject *
move(Cell *cell, word_t *word, PyObject *words, int restart) /* steals `words`, a result of `hold`; returns None */
{
    PyObject *before;
    Py_BEGIN_CRITICAL_SECTION(cell);
    word_t *from = lift(cell);
    atomic_store_explicit(word, restart ? 0 : atomic_load(from), memory_order_relaxed); /* the bits of 0.0 are 0, too */
    before = cell->words;
    cell->words = words;
    atomic_store(&cell->word, word);
    Py_END_CRITICAL_SECTION();
    let_go(before);
    Py_RETURN_NONE;
}

static PyObject *
none(int failed) /* None, or NULL if an exception is set */
{
    return failed ? NULL : Py_NewRef(Py_None);
}

/* Arguments */

static PyObject *
checked(const char *name, PyObject *value) /* calls exact_int or exact_float of exact.py */
{
    PyObject *cells = PyImport_ImportModule("pyvars.core.exact");
    if (cells == NULL)
        return NULL;
    PyObject *plain = PyObject_CallMethod(cells, name, "O", value);
    Py_DECREF(cells);
    return plain;
}

static int
integer_from(PyObject *value, int64_t *number)
{
    int overflow = 1;
    if (PyLong_CheckExact(value))
        *number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (!overflow)
        return 0;
    PyObject *plain = checked("exact_int", value);
    if (plain == NULL)
        return -1;
    *number = PyLong_AsLongLong(plain);
    Py_DECREF(plain);
    return *number == -1 && PyErr_Occurred() ? -1 : 0;
}

static int
real_from(PyObject *value, double *number)
{
    if (PyFloat_CheckExact(value)) {
        *number = PyFloat_AS_DOUBLE(value);
        return 0;
    }
    PyObject *plain = checked("exact_float", value);
    if (plain == NULL)
        return -1;
    *number = PyFloat_AsDouble(plain);
    Py_DECREF(plain);
    return *number == -1.0 && PyErr_Occurred() ? -1 : 0;
}

/* Parses the only argument, `delta`; if it is missing, `*delta` is unchanged. Returns 0, or -1 with an exception. */
static int
delta_of(PyObject *const *arguments, Py_ssize_t number, PyObject *names, PyObject **delta)
{
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (number + named > 1) {
        PyErr_Format(PyExc_TypeError, "add() takes at most one argument, got %zd", number + named);
        return -1;
    }
    if (named && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "delta")) {
        PyErr_Format(PyExc_TypeError, "add() has no argument %R, only delta", PyTuple_GET_ITEM(names, 0));
        return -1;
    }
    if (number + named)
        *delta = arguments[0];
    return 0;
}

/* Cells */

static PyObject *
cell_new(PyTypeObject *type)
{
    Cell *cell = (Cell *)type->tp_alloc(type, 0);
    if (cell != NULL)
        atomic_init(&cell->word, &cell->own);
    return (PyObject *)cell;
}

static PyObject *
integer_new(PyTypeObject *type, PyObject *Py_UNUSED(arguments), PyObject *Py_UNUSED(named))
{
    return cell_new(type);
}

static PyObject *
real_new(PyTypeObject *type, PyObject *Py_UNUSED(arguments), PyObject *Py_UNUSED(named))
{
    return cell_new(type);
}

static void
cell_dealloc(Cell *cell)
{
    PyTypeObject *type = Py_TYPE(cell);
    let_go(cell->words);
    type->tp_free(cell);
    Py_DECREF(type);
}

static PyObject *
cell_bind(Cell *cell, PyObject *const *arguments, Py_ssize_t number, const char *format)
{
    if (number != 2 || !PyMemoryView_Check(arguments[0]) || !PyLong_Check(arguments[1]))
        return PyErr_Format(PyExc_TypeError, "_bind() takes a memoryview and an index");
    Py_ssize_t index = PyNumber_AsSsize_t(arguments[1], NULL); /* NULL: a larger int becomes PY_SSIZE_T_MAX, no error */
    PyObject *words = hold(arguments[0]);
    if (words == NULL)
        return NULL;
    const Py_buffer *memory = PyMemoryView_GET_BUFFER(words);
    if (memory->ndim != 1 || memory->readonly || memory->itemsize != sizeof(word_t) || strcmp(memory->format, format) ||
        !PyBuffer_IsContiguous(memory, 'C') || (uintptr_t)memory->buf % sizeof(word_t) || index < 0 ||
        index >= memory->len / memory->itemsize) {
        let_go(words);
        return PyErr_Format(PyExc_ValueError,
                            "_bind() takes a writable contiguous one-dimensional memoryview of the format %s, and an"
                            " index in it",
                            format);
    }
    return move(cell, (word_t *)memory->buf + index, words, 0);
}

static PyObject *
cell_unbind(Cell *cell, PyObject *Py_UNUSED(none))
{
    return move(cell, &cell->own, NULL, 0);
}

static PyObject *
cell_restart(Cell *cell, PyObject *Py_UNUSED(none))
{
    return move(cell, &cell->own, NULL, 1);
}

static PyObject *
cell_words(Cell *cell, void *Py_UNUSED(closure))
{
    PyObject *words;
    Py_BEGIN_CRITICAL_SECTION(cell);
    words = Py_NewRef(cell->words ? cell->words : Py_None);
    Py_END_CRITICAL_SECTION();
    return words;
}

static PyObject *
cell_index(Cell *cell, void *Py_UNUSED(closure))
{
    Py_ssize_t index = 0;
    Py_BEGIN_CRITICAL_SECTION(cell);
    if (cell->words != NULL)
        index = atomic_load(&cell->word) - (word_t *)PyMemoryView_GET_BUFFER(cell->words)->buf;
    Py_END_CRITICAL_SECTION();
    return PyLong_FromSsize_t(index);
}

static PyMemberDef cell_members[] = {
    {"gauge", T_BOOL, offsetof(Cell, gauge), 0, "Whether it is a gauge, not a count."},
    {NULL},
};

#define CALL(function) ((PyCFunction)(void (*)(void))(function))

/* The methods of both kinds; each kind has its own `add`, `set`, `value` and `_bind` */
#define CELL_METHODS(bind) \
    {"_bind", CALL(bind), METH_FASTCALL, \
     PyDoc_STR("Keep the number in `words[index]` from now on. No other cell may use that word.")}, \
    {"_unbind", CALL(cell_unbind), METH_NOARGS, \
     PyDoc_STR("Keep the number in private memory again. The value is unchanged.")}, \
    {"_restart", CALL(cell_restart), METH_NOARGS, \
     PyDoc_STR("Keep the number in private memory again, and set it to 0.")}, \
    {NULL}
#define CELL_GETTERS(value) \
    {"value", (getter)(value), NULL, \
     PyDoc_STR("The current number in this process. Read-only: `add` and `set` change it."), NULL}, \
    {"_value", (getter)(value), NULL, NULL, NULL}, \
    {"_words", (getter)cell_words, NULL, NULL, NULL}, \
    {"_index", (getter)cell_index, NULL, NULL, NULL}, \
    {NULL}

/* Sets `*value` to a new reference to the argument `value`, or to NULL, and sets `gauge`. PyArg_ParseTupleAndKeywords
   would return a borrowed reference, and then compare names, which may run code of the program. */
static int
cell_init(Cell *cell, PyObject *arguments, PyObject *named, PyObject **value)
{
    PyObject *gauge = NULL, *name, *given;
    Py_ssize_t number = PyTuple_GET_SIZE(arguments), position = 0;
    int good = number <= 1, is_gauge = 0;
    *value = number ? Py_NewRef(PyTuple_GET_ITEM(arguments, 0)) : NULL;
    while (good && named != NULL && PyDict_Next(named, &position, &name, &given)) {
        PyObject **place = NULL;
        if (PyUnicode_Check(name) && !PyUnicode_CompareWithASCIIString(name, "value"))
            place = value;
        else if (PyUnicode_Check(name) && !PyUnicode_CompareWithASCIIString(name, "gauge"))
            place = &gauge;
        if ((good = place != NULL && *place == NULL))
            *place = Py_NewRef(given);
    }
    if (!good)
        PyErr_SetString(PyExc_TypeError, "an Int or Float takes at most one value, and gauge only by keyword");
    else if (gauge != NULL && !PyBool_Check(gauge)) {
        PyErr_Format(PyExc_TypeError, "gauge is True or False, got %R", gauge);
        good = 0;
    }
    is_gauge = gauge == Py_True;
    Py_XDECREF(gauge);
    if (!good) {
        Py_CLEAR(*value);
        return -1;
    }
    cell->gauge = (char)is_gauge;
    return 0;
}

/* Integers */

static PyObject *
integer_add(Cell *cell, PyObject *const *arguments, Py_ssize_t number, PyObject *names)
{
    if (number == 0 && names == NULL)
        return none(add_integer(cell, 1));
    PyObject *given = NULL;
    int64_t delta = 1;
    if (delta_of(arguments, number, names, &given) || (given && integer_from(given, &delta)))
        return NULL;
    return none(add_integer(cell, delta));
}

static PyObject *
integer_set(Cell *cell, PyObject *value)
{
    int64_t number;
    if (integer_from(value, &number))
        return NULL;
    store(cell, number);
    Py_RETURN_NONE;
}

static PyObject *
integer_value(Cell *cell, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(load(cell));
}

static PyObject *
integer_snapshot(Cell *cell, PyObject *Py_UNUSED(none))
{
    return PyLong_FromLongLong(load(cell));
}

static int
integer_init(Cell *cell, PyObject *arguments, PyObject *named)
{
    PyObject *value;
    int64_t number = 0;
    if (cell_init(cell, arguments, named, &value))
        return -1;
    int failed = value != NULL && integer_from(value, &number);
    Py_XDECREF(value);
    if (failed)
        return -1;
    store(cell, number);
    return 0;
}

static PyObject *
integer_bind(Cell *cell, PyObject *const *arguments, Py_ssize_t number)
{
    return cell_bind(cell, arguments, number, "q");
}

static PyMethodDef integer_methods[] = {
    {"add", CALL(integer_add), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("add($self, /, delta=1)\n--\n\nAdd `delta`, which may be negative. No count is lost, also in threads,\n"
               "signal handlers and finalizers.\n\nRaises:\n"
               "    TypeError: `delta` is not an integer. The value is unchanged.\n"
               "    OverflowError: the sum does not fit into 64 bits. The value is unchanged.")},
    {"set", CALL(integer_set), METH_O,
     PyDoc_STR("set($self, value, /)\n--\n\nReplace the number.\n\nRaises:\n"
               "    TypeError: `value` is not an integer. The old value stays.\n"
               "    OverflowError: `value` does not fit into 64 bits. The old value stays.")},
    {"snapshot", CALL(integer_snapshot), METH_NOARGS, PyDoc_STR("The number, as plain JSON data.")},
    CELL_METHODS(integer_bind),
};
static PyGetSetDef integer_getters[] = {CELL_GETTERS(integer_value)};
static PyType_Slot integer_slots[] = {
    {Py_tp_doc, "IntCell(value=0, *, gauge=False)\n--\n\nA signed 64-bit integer."},
    {Py_tp_new, integer_new},
    {Py_tp_init, integer_init},
    {Py_tp_dealloc, cell_dealloc},
    {Py_tp_methods, integer_methods},
    {Py_tp_getset, integer_getters},
    {Py_tp_members, cell_members},
    {0, NULL},
};
static PyType_Spec integer_spec = {
    "pyvars.core._cells.IntCell", sizeof(Cell), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, integer_slots};

/* Floating point numbers */

static PyObject *
real_add(Cell *cell, PyObject *const *arguments, Py_ssize_t number, PyObject *names)
{
    PyObject *given = NULL;
    double delta = 1.0;
    if (delta_of(arguments, number, names, &given) || (given && real_from(given, &delta)))
        return NULL;
    return none(add_real(cell, delta));
}

static PyObject *
real_set(Cell *cell, PyObject *value)
{
    double number;
    if (real_from(value, &number))
        return NULL;
    store(cell, bits_of(number));
    Py_RETURN_NONE;
}

static PyObject *
real_value(Cell *cell, void *Py_UNUSED(closure))
{
    return PyFloat_FromDouble(real_of(load(cell)));
}

static PyObject *
real_snapshot(Cell *cell, PyObject *Py_UNUSED(none))
{
    return PyFloat_FromDouble(real_of(load(cell)));
}

static int
real_init(Cell *cell, PyObject *arguments, PyObject *named)
{
    PyObject *value;
    double number = 0.0;
    if (cell_init(cell, arguments, named, &value))
        return -1;
    int failed = value != NULL && real_from(value, &number);
    Py_XDECREF(value);
    if (failed)
        return -1;
    store(cell, bits_of(number));
    return 0;
}

static PyObject *
real_bind(Cell *cell, PyObject *const *arguments, Py_ssize_t number)
{
    return cell_bind(cell, arguments, number, "d");
}

static PyMethodDef real_methods[] = {
    {"add", CALL(real_add), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("add($self, /, delta=1.0)\n--\n\nAdd `delta`, which may be negative. No addition is lost, also in\n"
               "threads, signal handlers and finalizers.\n\nRaises:\n"
               "    TypeError: `delta` is not a number. The value is unchanged.\n"
               "    OverflowError: `delta` is an integer too large for a float. The value is unchanged.")},
    {"set", CALL(real_set), METH_O,
     PyDoc_STR("set($self, value, /)\n--\n\nReplace the number. NaN and infinities are stored as they are; the page\n"
               "shows them as `null`.\n\nRaises:\n    TypeError: `value` is not a number. The old value stays.\n"
               "    OverflowError: `value` is an integer too large for a float. The old value stays.")},
    {"snapshot", CALL(real_snapshot), METH_NOARGS, PyDoc_STR("The number, as plain JSON data.")},
    CELL_METHODS(real_bind),
};
static PyGetSetDef real_getters[] = {CELL_GETTERS(real_value)};
static PyType_Slot real_slots[] = {
    {Py_tp_doc, "FloatCell(value=0.0, *, gauge=False)\n--\n\nA 64-bit floating point number."},
    {Py_tp_new, real_new},
    {Py_tp_init, real_init},
    {Py_tp_dealloc, cell_dealloc},
    {Py_tp_methods, real_methods},
    {Py_tp_getset, real_getters},
    {Py_tp_members, cell_members},
    {0, NULL},
};
static PyType_Spec real_spec = {
    "pyvars.core._cells.FloatCell", sizeof(Cell), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, real_slots};

/* Numbers by key */

/* The fast path of `add`: if there is a number that `delta` can be added to, adds it and sets `*done`. */
static PyObject *
counts_try(Counts *counts, PyObject *key, PyObject *delta, int *done)
{
    int overflow = 0;
    int64_t number = 1;
    if (delta != NULL && PyLong_CheckExact(delta))
        number = PyLong_AsLongLongAndOverflow(delta, &overflow);
    else if (delta != NULL && !PyFloat_CheckExact(delta))
        return NULL;
    PyObject *result = NULL, *cell = overflow ? NULL : find_cell(counts, key);
    if (cell == NULL)
        return NULL;
    if (delta != NULL && PyFloat_CheckExact(delta)) {
        if ((*done = IS_REAL(cell)))
            result = none(add_real((Cell *)cell, PyFloat_AS_DOUBLE(delta)));
    }
    else if ((*done = IS_INTEGER(cell)))
        result = none(add_integer((Cell *)cell, number));
    else if ((*done = IS_REAL(cell)))
        result = none(add_real((Cell *)cell, (double)number));
    Py_DECREF(cell);
    return result;
}

static PyObject *
counts_add(Counts *counts, PyObject *const *arguments, Py_ssize_t number, PyObject *names)
{
    int done = 0;
    PyObject *result = NULL, *delta = number == 2 ? arguments[1] : NULL;
    if (names == NULL && (number == 1 || number == 2) && PyUnicode_CheckExact(arguments[0])) {
        Py_BEGIN_CRITICAL_SECTION(counts);
        result = counts_try(counts, arguments[0], delta, &done);
        Py_END_CRITICAL_SECTION();
    }
    if (done || PyErr_Occurred())
        return result;
    PyObject *rest = PyObject_GetAttrString((PyObject *)counts, "_add"); /* new keys, other types, errors */
    if (rest != NULL) {
        result = PyObject_Vectorcall(rest, arguments, number, names);
        Py_DECREF(rest);
    }
    return result;
}

static int
is_full(Counts *counts) /* whether there is room for no key but `__other__`; -1 with an exception set */
{
    Py_ssize_t number = PyDict_GET_SIZE(counts->cells);
    if (number < counts->limit)
        return 0;
    PyObject *other = PyUnicode_InternFromString("__other__");
    int has_other = other == NULL ? -1 : PyDict_Contains(counts->cells, other);
    Py_XDECREF(other);
    return has_other < 0 ? -1 : number - has_other >= counts->limit;
}

/* Adds the number of the cell `new` to the number under the key, and returns None; or puts `new` itself there, and
   returns the key and the cell that it replaces, or None: see counts.py. */
static PyObject *
counts_place(Counts *counts, PyObject *key, PyObject *new)
{
    /* The pair is made first, because an allocation may collect garbage, and so run code that changes the Map. It is
       filled with None, because gc.get_objects() shows it to the program at once. */
    PyObject *result = NULL, *before = NULL, *pair = PyTuple_Pack(2, Py_None, Py_None);
    if (pair == NULL)
        return NULL;
    Py_INCREF(key);
    if ((before = find_cell(counts, key)) == NULL && !PyErr_Occurred() && is_full(counts) > 0) {
        Py_SETREF(key, PyUnicode_InternFromString("__other__"));
        before = key == NULL ? NULL : find_cell(counts, key);
    }
    if (PyErr_Occurred())
        goto done;
    if (before != NULL && !(IS_INTEGER(before) && IS_REAL(new))) {
        int64_t number = load((Cell *)new);
        if (IS_INTEGER(before))
            result = none(add_integer((Cell *)before, number));
        else if (IS_REAL(before))
            result = none(add_real((Cell *)before, IS_REAL(new) ? real_of(number) : (double)number));
        else
            PyErr_SetString(PyExc_TypeError, "the variable under the key does not count");
        goto done;
    }
    if (before != NULL) {
        store((Cell *)new, bits_of((double)load((Cell *)before) + real_of(load((Cell *)new))));
        ((Cell *)new)->gauge = ((Cell *)before)->gauge;
    }
    if (PyDict_SetItem(counts->cells, key, new) == 0) {
        Py_SETREF(((PyTupleObject *)pair)->ob_item[0], Py_NewRef(key));
        Py_SETREF(((PyTupleObject *)pair)->ob_item[1], Py_NewRef(before == NULL ? Py_None : before));
        result = Py_NewRef(pair);
    }
done:
    Py_XDECREF(before);
    Py_XDECREF(key);
    Py_DECREF(pair);
    return result;
}

static PyObject *
counts__place(Counts *counts, PyObject *arguments)
{
    PyObject *key, *new, *result;
    if (!PyArg_ParseTuple(arguments, "UO", &key, &new))
        return NULL;
    if (!IS_INTEGER(new) && !IS_REAL(new))
        return PyErr_Format(PyExc_TypeError, "_place() takes an Int or a Float, got %R", new);
    if ((key = PyUnicode_FromObject(key)) == NULL) /* a plain str: hashing it runs no code of the program */
        return NULL;
    Py_BEGIN_CRITICAL_SECTION(counts);
    result = counts_place(counts, key, new);
    Py_END_CRITICAL_SECTION();
    Py_DECREF(key);
    return result;
}

static PyObject *
counts__put(Counts *counts, PyObject *arguments)
{
    PyObject *key, *new, *before;
    int failed;
    if (!PyArg_ParseTuple(arguments, "UO", &key, &new))
        return NULL;
    if (new != Py_None && !IS_INTEGER(new) && !IS_REAL(new))
        return PyErr_Format(PyExc_TypeError, "_put() takes an Int, a Float or None, got %R", new);
    if ((key = PyUnicode_FromObject(key)) == NULL)
        return NULL;
    Py_BEGIN_CRITICAL_SECTION(counts);
    before = find_cell(counts, key);
    failed = PyErr_Occurred() != NULL;
    if (!failed && new != Py_None)
        failed = PyDict_SetItem(counts->cells, key, new);
    else if (!failed && before != NULL)
        failed = PyDict_DelItem(counts->cells, key);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(before); /* outside the critical section: destroying it may run code of the program */
    Py_DECREF(key);
    return none(failed);
}

static PyObject *
counts__clear(Counts *counts, PyObject *arguments)
{
    Py_ssize_t limit;
    PyObject *before;
    if (!PyArg_ParseTuple(arguments, "n", &limit) || (before = PyDict_New()) == NULL)
        return NULL;
    Py_BEGIN_CRITICAL_SECTION(counts);
    if (PyDict_Update(before, counts->cells) < 0)
        Py_CLEAR(before);
    else {
        PyDict_Clear(counts->cells);
        counts->limit = limit;
    }
    Py_END_CRITICAL_SECTION();
    return before;
}

static PyObject *
counts_new(PyTypeObject *type, PyObject *Py_UNUSED(arguments), PyObject *Py_UNUSED(named))
{
    PyObject *cells = PyDict_New(); /* made first: gc.get_objects() shows the Counts to the program at once */
    Counts *counts = cells == NULL ? NULL : (Counts *)type->tp_alloc(type, 0);
    if (counts == NULL)
        Py_XDECREF(cells);
    else
        counts->cells = cells;
    return (PyObject *)counts;
}

static int
counts_init(Counts *counts, PyObject *arguments, PyObject *Py_UNUSED(named))
{
    PyObject *before = counts__clear(counts, arguments);
    Py_XDECREF(before);
    return before == NULL ? -1 : 0;
}

static int
counts_traverse(Counts *counts, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(counts));
    Py_VISIT(counts->cells);
    return 0;
}

static int
counts_clear(Counts *counts) /* the dict itself stays: `cells` is never NULL */
{
    PyDict_Clear(counts->cells);
    return 0;
}

static void
counts_dealloc(Counts *counts)
{
    PyTypeObject *type = Py_TYPE(counts);
    PyObject_GC_UnTrack(counts);
    Py_XDECREF(counts->cells);
    type->tp_free(counts);
    Py_DECREF(type);
}

static PyMemberDef counts_members[] = {
    {"_cells", T_OBJECT, offsetof(Counts, cells), READONLY, NULL},
    {NULL},
};
static PyMethodDef counts_methods[] = {
    {"add", CALL(counts_add), METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("add($self, /, key, delta=1)\n--\n\nAdd `delta` to the number under `key`, which starts at 0.\n\n"
               "Adding a float to an integer turns it into a float; nothing that was counted is lost. If `key` was\n"
               "`set` to another variable that has a method `add`, that method is called.\n\nRaises:\n"
               "    TypeError: `key` is not a str, `delta` is not a number, or the variable under `key` has no method\n"
               "        `add`.\n"
               "    OverflowError: the sum of integers does not fit into 64 bits. The value is unchanged.")},
    {"_place", (PyCFunction)counts__place, METH_VARARGS, NULL},
    {"_put", (PyCFunction)counts__put, METH_VARARGS, NULL},
    {"_clear", (PyCFunction)counts__clear, METH_VARARGS, NULL},
    {NULL},
};
static PyType_Slot counts_slots[] = {
    {Py_tp_doc, "Numbers by key."},
    {Py_tp_new, counts_new},
    {Py_tp_init, counts_init},
    {Py_tp_traverse, counts_traverse},
    {Py_tp_clear, counts_clear},
    {Py_tp_dealloc, counts_dealloc},
    {Py_tp_methods, counts_methods},
    {Py_tp_members, counts_members},
    {0, NULL},
};
static PyType_Spec counts_spec = {"pyvars.core._cells.Counts", sizeof(Counts), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, counts_slots};

/* Distributions: see buckets.py */

static PyObject *
buckets_observe(Buckets *buckets, PyObject *value)
{
    double number;
    if (real_from(value, &number))
        return NULL;
    if (!(number >= 0.0) || isinf(number)) {
        PyObject *shown = PyFloat_FromDouble(number);
        PyErr_Format(PyExc_ValueError, "a Histogram takes finite numbers from 0 on, got %R", shown);
        Py_XDECREF(shown);
        return NULL;
    }
    Py_ssize_t n = buckets->bounds == NULL ? bucket_of(number) : own_bucket_of(buckets, number);
    return none(observe_in(buckets, n, number));
}

static PyObject *
buckets_put(Buckets *buckets, PyObject *arguments)
{
    Py_ssize_t n;
    PyObject *cell, **place;
    if (!PyArg_ParseTuple(arguments, "nO", &n, &cell))
        return NULL;
    if (n < 0 || n > OCTAVES * PARTS + 1 || !IS_INTEGER(cell)) {
        PyErr_SetString(PyExc_TypeError, "_put() takes the number of a bucket, and an Int");
        return NULL;
    }
    Py_BEGIN_CRITICAL_SECTION(buckets);
    if (n < OCTAVES * PARTS && buckets->octaves[n / PARTS] == NULL)
        buckets->octaves[n / PARTS] = PyMem_Calloc(PARTS, sizeof(PyObject *));
    if ((place = place_of(buckets, n)) != NULL) {
        if (*place == NULL)
            *place = Py_NewRef(cell);
        cell = Py_NewRef(*place);
    }
    Py_END_CRITICAL_SECTION();
    return place == NULL ? PyErr_NoMemory() : cell;
}

static PyObject *
buckets_bucket(Buckets *buckets, PyObject *number)
{
    Py_ssize_t n = PyNumber_AsSsize_t(number, NULL); /* cut to what an index can be */
    if (n == -1 && PyErr_Occurred())
        return NULL;
    PyObject *cell = n < 0 || n > OCTAVES * PARTS + 1 ? NULL : known_bucket(buckets, n);
    return cell == NULL ? Py_NewRef(Py_None) : cell;
}

static PyObject *
buckets_known(Buckets *buckets, PyObject *Py_UNUSED(none))
{
    PyObject *known = PyDict_New();
    Py_BEGIN_CRITICAL_SECTION(buckets);
    for (Py_ssize_t n = 0; known != NULL && n < OCTAVES * PARTS + 2; n++) {
        PyObject **place = place_of(buckets, n), *key;
        if (place == NULL || *place == NULL)
            continue;
        key = PyLong_FromSsize_t(n);
        if (key == NULL || PyDict_SetItem(known, key, *place) < 0)
            Py_CLEAR(known);
        Py_XDECREF(key);
    }
    Py_END_CRITICAL_SECTION();
    return known;
}

static void
buckets_empty(Buckets *buckets) /* frees no octaves: destroying a cell may run code that uses them */
{
    for (Py_ssize_t n = 0; n < OCTAVES * PARTS + 2; n++) {
        PyObject **place, *cell = NULL;
        Py_BEGIN_CRITICAL_SECTION(buckets);
        if ((place = place_of(buckets, n)) != NULL) {
            cell = *place;
            *place = NULL;
        }
        Py_END_CRITICAL_SECTION();
        Py_XDECREF(cell);
    }
}

static int
bounds_from(PyObject *bounds, double **own, Py_ssize_t *number) /* returns 0, or -1 with an exception set */
{
    if (!PyTuple_Check(bounds) || PyTuple_GET_SIZE(bounds) > OCTAVES * PARTS) {
        PyErr_SetString(PyExc_TypeError, "the bounds of a Histogram are a tuple of floats, or None");
        return -1;
    }
    *number = PyTuple_GET_SIZE(bounds);
    if ((*own = PyMem_Calloc(*number + 1, sizeof(double))) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t n = 0; n < *number; n++) {
        if (!PyFloat_CheckExact(PyTuple_GET_ITEM(bounds, n))) {
            PyMem_Free(*own);
            PyErr_SetString(PyExc_TypeError, "the bounds of a Histogram are floats");
            return -1;
        }
        (*own)[n] = PyFloat_AS_DOUBLE(PyTuple_GET_ITEM(bounds, n));
    }
    return 0;
}

static int
buckets_init(Buckets *buckets, PyObject *arguments, PyObject *Py_UNUSED(named))
{
    PyObject *sum, *bounds, *before;
    double *own = NULL, *replaced;
    Py_ssize_t number = 0;
    if (!PyArg_ParseTuple(arguments, "OO", &sum, &bounds))
        return -1;
    if (!IS_REAL(sum)) {
        PyErr_SetString(PyExc_TypeError, "the sum of a Histogram is a Float");
        return -1;
    }
    if (bounds != Py_None && bounds_from(bounds, &own, &number))
        return -1;
    buckets_empty(buckets);
    Py_BEGIN_CRITICAL_SECTION(buckets);
    before = buckets->sum;
    buckets->sum = Py_NewRef(sum);
    replaced = buckets->bounds;
    buckets->bounds = own;
    buckets->number = number;
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(before);
    PyMem_Free(replaced);
    return 0;
}

static void
buckets_dealloc(Buckets *buckets)
{
    PyTypeObject *type = Py_TYPE(buckets);
    PyObject_GC_UnTrack(buckets);
    buckets_empty(buckets);
    for (Py_ssize_t octave = 0; octave < OCTAVES; octave++)
        PyMem_Free(buckets->octaves[octave]);
    PyMem_Free(buckets->bounds);
    Py_CLEAR(buckets->sum);
    type->tp_free(buckets);
    Py_DECREF(type);
}

static int
buckets_traverse(Buckets *buckets, visitproc visit, void *arg) /* does not visit the cells: they form no cycles */
{
    Py_VISIT(Py_TYPE(buckets));
    return 0;
}

static PyObject *
buckets_new(PyTypeObject *type, PyObject *Py_UNUSED(arguments), PyObject *Py_UNUSED(named))
{
    return type->tp_alloc(type, 0);
}

static PyMethodDef buckets_methods[] = {
    {"observe", (PyCFunction)buckets_observe, METH_O,
     PyDoc_STR("observe($self, value, /)\n--\n\nCount `value` in its bucket, and add it to the sum.\n\nRaises:\n"
               "    TypeError: `value` is not a number.\n    ValueError: `value` is negative, infinite or NaN.\n"
               "    OverflowError: `value` is an integer too large for a float.")},
    {"_put", (PyCFunction)buckets_put, METH_VARARGS, NULL},
    {"_bucket", (PyCFunction)buckets_bucket, METH_O, NULL},
    {"_known", (PyCFunction)buckets_known, METH_NOARGS, NULL},
    {NULL},
};
static PyType_Slot buckets_slots[] = {
    {Py_tp_doc, "The cells of a distribution."},
    {Py_tp_new, buckets_new},
    {Py_tp_init, buckets_init},
    {Py_tp_traverse, buckets_traverse},
    {Py_tp_dealloc, buckets_dealloc},
    {Py_tp_methods, buckets_methods},
    {0, NULL},
};
static PyType_Spec buckets_spec = {"pyvars.core._cells.Buckets", sizeof(Buckets), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, buckets_slots};

/* The module */

static int
is_integer(PyObject *value, int64_t *integer) /* whether it is an int of 64 bits or an IntCell */
{
    int overflow;
    if (IS_INTEGER(value)) {
        *integer = load((Cell *)value);
        return 1;
    }
    if (!PyLong_CheckExact(value))
        return 0;
    *integer = PyLong_AsLongLongAndOverflow(value, &overflow);
    return !overflow;
}

static Py_ssize_t
write_integer(char *text, int64_t integer) /* at most 20 characters; returns how many */
{
    char digits[20], *digit = digits + sizeof digits;
    uint64_t left = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
    do
        *--digit = (char)('0' + left % 10);
    while (left /= 10);
    if (integer < 0)
        *--digit = '-';
    memcpy(text, digit, digits + sizeof digits - digit);
    return digits + sizeof digits - digit;
}

static Py_ssize_t
end_of(const Py_buffer *ends, Py_ssize_t i)
{
    uint32_t end;
    memcpy(&end, (char *)ends->buf + 4 * i, sizeof end); /* bytes need not be aligned */
    return end;
}

static PyObject *
item_of(PyObject *list, Py_ssize_t i) /* a new reference, or NULL */
{
#ifdef Py_GIL_DISABLED
    return PyList_GetItemRef(list, i);
#else
    return i < PyList_GET_SIZE(list) ? Py_NewRef(PyList_GET_ITEM(list, i)) : NULL;
#endif
}

/* Builds a page: each head, followed by its value. `ends` are 32-bit offsets: where each head ends in `heads`. Integers
   are written here, which takes 10 ns each; bytes are copied, because they are JSON already. `encode` writes all other
   values, and may run any code. */
static PyObject *
join(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    Py_buffer heads, ends;
    PyObject *values, *encode, *text = NULL;
    if (!PyArg_ParseTuple(arguments, "y*y*O!O", &heads, &ends, &PyList_Type, &values, &encode))
        return NULL;
    Py_ssize_t number = ends.len / 4, used = 0, begin = 0;
    Py_ssize_t size = heads.len + 24 * (number + 1); /* enough for heads and integers; other values add their length */
    if (number == 0 || number != PyList_GET_SIZE(values) || end_of(&ends, number - 1) != heads.len) {
        PyErr_SetString(PyExc_ValueError, "join() takes heads, their ends, and as many values");
        goto done;
    }
    if ((text = PyBytes_FromStringAndSize(NULL, size)) == NULL)
        goto done;
    for (Py_ssize_t i = 0; i < number; i++) {
        Py_ssize_t end = end_of(&ends, i); /* read once: another thread may change the memory of `ends` at any time */
        PyObject *value = end < begin || end > heads.len ? NULL : item_of(values, i);
        if (value == NULL) {
            PyErr_SetString(PyExc_ValueError, "join(): the values or the ends changed");
            Py_CLEAR(text);
            goto done;
        }
        memcpy(PyBytes_AS_STRING(text) + used, (char *)heads.buf + begin, end - begin);
        used += end - begin;
        begin = end;
        int64_t integer;
        if (is_integer(value, &integer)) {
            used += write_integer(PyBytes_AS_STRING(text) + used, integer);
            Py_DECREF(value);
            continue;
        }
        PyObject *written = PyBytes_CheckExact(value) ? Py_NewRef(value) : PyObject_CallOneArg(encode, value);
        Py_DECREF(value);
        if (written == NULL || !PyBytes_Check(written)) {
            if (written != NULL)
                PyErr_SetString(PyExc_TypeError, "join(): encode() makes bytes");
            Py_XDECREF(written);
            Py_CLEAR(text);
            goto done;
        }
        size += PyBytes_GET_SIZE(written);
        if (size > PyBytes_GET_SIZE(text) && _PyBytes_Resize(&text, size + size / 8) < 0) {
            Py_DECREF(written);
            goto done;
        }
        memcpy(PyBytes_AS_STRING(text) + used, PyBytes_AS_STRING(written), PyBytes_GET_SIZE(written));
        used += PyBytes_GET_SIZE(written);
        Py_DECREF(written);
    }
    memcpy(PyBytes_AS_STRING(text) + used, "\n}\n", 3);
    _PyBytes_Resize(&text, used + 3);
done:
    PyBuffer_Release(&heads);
    PyBuffer_Release(&ends);
    return text;
}

/* CPython calls a C method at full speed only if the class of the object defines it, and not a base class: `add` then
   takes 24 ns instead of 32 ns. So the classes that programs count with get methods of their own. A class of cells is
   also made again without support for garbage collection, which a class statement adds and which costs 16 bytes for
   each instance. Cells form no cycles, so they need none. */
static PyObject *
fast_methods(PyObject *Py_UNUSED(self), PyObject *class)
{
    PyTypeObject *type = (PyTypeObject *)class;
    if (!PyType_Check(class) ||
        (type->tp_new != integer_new && type->tp_new != real_new && type->tp_new != counts_new &&
         type->tp_new != buckets_new)) {
        PyErr_SetString(PyExc_TypeError, "fast_methods() takes a class of cells, counts or buckets");
        return NULL;
    }
    if (type->tp_new == counts_new || type->tp_new == buckets_new) {
        PyMethodDef *hot = type->tp_new == counts_new ? counts_methods : buckets_methods;
        PyObject *method = PyDescr_NewMethod(type, hot);
        int failed = method == NULL || PyObject_SetAttrString(class, hot->ml_name, method) < 0;
        Py_XDECREF(method);
        return failed ? NULL : Py_NewRef(class);
    }
    if (type->tp_basicsize != sizeof(Cell) || type->tp_dictoffset || type->tp_weaklistoffset) {
        PyErr_SetString(PyExc_TypeError, "fast_methods() takes a class of cells whose instances are no larger");
        return NULL;
    }
    PyType_Slot slots[] = {{Py_tp_methods, type->tp_new == integer_new ? integer_methods : real_methods}, {0, NULL}};
    PyType_Spec spec = {NULL, sizeof(Cell), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
    PyObject *module = PyObject_GetAttrString(class, "__module__"), *same = NULL, *members = NULL, *key, *value;
    PyObject *name = NULL, *bases = Py_NewRef(type->tp_bases);
    if (module != NULL && !PyUnicode_Check(module))
        PyErr_SetString(PyExc_TypeError, "the __module__ of a class is a str");
    else if (module != NULL)
        name = PyUnicode_FromFormat("%U.%s", module, type->tp_name);
    if (name != NULL && (spec.name = PyUnicode_AsUTF8(name)) != NULL)
        same = PyType_FromSpecWithBases(&spec, bases);
    if (same != NULL)
        members = PyObject_CallFunction((PyObject *)&PyDict_Type, "N", PyObject_GetAttrString(class, "__dict__"));
    for (Py_ssize_t position = 0; members != NULL && PyDict_Next(members, &position, &key, &value);) {
        Py_INCREF(key); /* setting the attribute may run code, which may change the dict (gc.get_objects() shows it) */
        Py_INCREF(value);
        if (PyObject_SetAttr(same, key, value) < 0)
            Py_CLEAR(members);
        Py_DECREF(key);
        Py_DECREF(value);
    }
    if (members == NULL)
        Py_CLEAR(same);
    Py_XDECREF(members);
    Py_DECREF(bases);
    Py_XDECREF(name);
    Py_XDECREF(module);
    return same;
}

static int
module_exec(PyObject *module)
{
    makers.integer = integer_new;
    makers.real = real_new;
    makers.counts = counts_new;
    makers.buckets = buckets_new;
    PyType_Spec *specs[] = {&integer_spec, &real_spec, &counts_spec, &buckets_spec};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        PyObject *type = PyType_FromModuleAndSpec(module, specs[i], NULL);
        if (type == NULL || PyModule_AddType(module, (PyTypeObject *)type) < 0) {
            Py_XDECREF(type);
            return -1;
        }
        Py_DECREF(type);
    }
    return 0;
}

static PyMethodDef module_methods[] = {
    {"fast_methods", fast_methods, METH_O,
     PyDoc_STR("fast_methods($module, class, /)\n--\n\n"
               "Decorate a class that programs count with, so that CPython calls its C methods at full speed.")},
    {"join", join, METH_VARARGS,
     PyDoc_STR("join($module, heads, ends, values, encode, /)\n--\n\nReturns a page: each head, then its value.")},
    {NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_MOD_PER_INTERPRETER_GIL_SUPPORTED
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_MOD_GIL_NOT_USED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "pyvars.core._cells", PyDoc_STR("The cells, counts and buckets of pyvars in C."), 0,
    module_methods,        module_slots,    NULL,
    NULL,                  NULL,
};

PyMODINIT_FUNC
PyInit__cells(void)
{
    return PyModuleDef_Init(&module);
}
