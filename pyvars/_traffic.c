/* What every request pays, in C, for speed alone: Tally of traffic.py, Exchange of exchange.py, and the way of most
requests through a middleware of asgi.py. They say there what each does, and do the same in Python.

The smallest request of Starlette takes 82 thousand instructions; behind VarsMiddleware it takes 24 thousand more with
all this in Python, and 5.7 with this, where a middleware in Python that does nothing takes 2.1 (callgrind, CPython
3.11). Time goes for what is touched rather than for instructions: nothing of it is in the first cache any more. */

#include "_cells.h"
#include <time.h>

/* The words looked for in scopes and messages, and names of methods; interned: finding one takes one comparison. */
#define WORDS(word)                                                                                                    \
    word(type) word(http) word(path) word(method) word(HEAD) word(route) word(path_format) word(app_root_path)         \
        word(fastapi) word(status) word(body) word(more_body) word(add) word(close) word(throw) word(unmatched)        \
            word(_add_method) word(_awaited) word(_extension) word(_leave) word(_received) word(_route) word(_watched)
#define DECLARE(word) static PyObject *w_##word;
WORDS(DECLARE)
static PyObject *response_start, *response_body, *debug, *rest, *other, *classes[6];

static PyTypeObject *tally_type, *exchange_type, *run_type;

static double
now(void) /* the clock of time.perf_counter */
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int
done(PyObject *result) /* of a call for its effect: 0, or -1 with an error */
{
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Of two str. Those of others are not interned, mostly, but of different lengths. */
static int
same(PyObject *one, PyObject *other)
{
    return one == other ||
           (PyUnicode_GET_LENGTH(one) == PyUnicode_GET_LENGTH(other) && PyUnicode_Compare(one, other) == 0);
}

/* Of a mapping: a new reference; NULL with an error if it raised, and without one if there is none. */
static PyObject *
find(PyObject *mapping, PyObject *key)
{
    if (PyDict_CheckExact(mapping))
        return Py_XNewRef(PyDict_GetItemWithError(mapping, key));
    PyObject *value = PyObject_GetItem(mapping, key);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_KeyError))
        PyErr_Clear();
    return value;
}

/* Tally: cells are found and counted here, without calling methods of theirs. */

enum { IN_FLIGHT, REQUESTS, ERRORS, BYTES_OUT, BY_METHOD, BY_STATUS, BY_ROUTE, SECONDS, HISTOGRAMS, VARIABLES };

typedef struct {
    PyObject_HEAD
    PyObject *of[VARIABLES]; /* Ints, Maps, a Histogram, and a dict of them by route */
} Tally;

static int
add(Tally *tally, int which, int64_t delta)
{
    return add_integer((Cell *)tally->of[which], delta);
}

/* One more under the key of a Map. What is not there yet, or is no Int, is left to the method of this name. */
static int
add_key(Tally *tally, int which, PyObject *key, PyObject *self, PyObject *method)
{
    Counts *counts = (Counts *)tally->of[which];
    PyObject *cell;
    int result = 0, known;
    Py_BEGIN_CRITICAL_SECTION(counts);
    cell = PyUnicode_CheckExact(key) ? find_cell(counts, key) : NULL; /* that of another class may run code */
    known = cell != NULL && IS_INTEGER(cell);
    if (known)
        result = add_integer((Cell *)cell, 1);
    Py_END_CRITICAL_SECTION();
    Py_XDECREF(cell);
    if (known || PyErr_Occurred())
        return known ? result : -1;
    return done(PyObject_CallMethodOneArg(self, method, key));
}

static int
observe(Tally *tally, PyObject *route, double seconds)
{
    Py_ssize_t bucket = bucket_of(seconds);
    PyObject *known = tally->of[HISTOGRAMS], *histogram = Py_XNewRef(PyDict_GetItemWithError(known, route));
    int result = -1;
    if (histogram == NULL && (PyErr_Occurred() || (histogram = PyObject_GetItem(known, route)) == NULL))
        return -1;
    if (!IS_BUCKETS(histogram))
        PyErr_SetString(PyExc_TypeError, "the seconds of a route are a Histogram");
    else if (observe_in((Buckets *)tally->of[SECONDS], bucket, seconds) == 0)
        result = observe_in((Buckets *)histogram, bucket, seconds);
    Py_DECREF(histogram);
    return result;
}

static int
count(Tally *tally, PyObject *method, long status, PyObject *route, Py_ssize_t size, double seconds, int failed)
{
    PyObject *self = (PyObject *)tally, *class = status >= 0 && status < 600 ? classes[status / 100] : other;
    if (add(tally, IN_FLIGHT, -1) || add(tally, REQUESTS, 1) ||
        add_key(tally, BY_METHOD, method, self, w__add_method) ||
        add_key(tally, BY_STATUS, class, tally->of[BY_STATUS], w_add) ||
        ((status >= 500 || failed) && add(tally, ERRORS, 1)) ||
        (size && !same(method, w_HEAD) && add(tally, BYTES_OUT, size)) ||
        add_key(tally, BY_ROUTE, route, tally->of[BY_ROUTE], w_add))
        return -1;
    return observe(tally, route, seconds);
}

static PyObject *
tally_begin(Tally *tally, PyObject *Py_UNUSED(none))
{
    return add(tally, IN_FLIGHT, 1) ? NULL : Py_NewRef(Py_None);
}

static PyObject *
tally_count(Tally *tally, PyObject *arguments)
{
    PyObject *method, *route;
    long status;
    Py_ssize_t size;
    double seconds;
    int failed = 0;
    if (!PyArg_ParseTuple(arguments, "UlUnd|p", &method, &status, &route, &size, &seconds, &failed))
        return NULL;
    if (!(seconds >= 0.0) || isinf(seconds)) {
        PyErr_SetString(PyExc_ValueError, "a request takes 0 seconds or more");
        return NULL;
    }
    return count(tally, method, status, route, size, seconds, failed) ? NULL : Py_NewRef(Py_None);
}

static PyObject *
tally_new(PyTypeObject *type, PyObject *given, PyObject *Py_UNUSED(names))
{
    int fit = PyTuple_GET_SIZE(given) == VARIABLES;
    for (int n = 0; fit && n < VARIABLES; n++) {
        PyObject *var = PyTuple_GET_ITEM(given, n);
        fit = n < BY_METHOD    ? IS_INTEGER(var)
              : n < SECONDS    ? IS_COUNTS(var)
              : n < HISTOGRAMS ? IS_BUCKETS(var)
                               : PyDict_Check(var);
    }
    if (!fit) {
        PyErr_SetString(PyExc_TypeError, "Tally() takes four Ints, three Maps, a Histogram, and a dict of Histograms");
        return NULL;
    }
    Tally *tally = (Tally *)type->tp_alloc(type, 0);
    for (int n = 0; tally != NULL && n < VARIABLES; n++)
        tally->of[n] = Py_NewRef(PyTuple_GET_ITEM(given, n));
    return (PyObject *)tally;
}

static int
tally_traverse(Tally *tally, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(tally));
    for (int n = 0; n < VARIABLES; n++)
        Py_VISIT(tally->of[n]);
    return 0;
}

static void
tally_dealloc(Tally *tally)
{
    PyTypeObject *type = Py_TYPE(tally);
    PyObject_GC_UnTrack(tally);
    for (int n = 0; n < VARIABLES; n++)
        Py_XDECREF(tally->of[n]);
    type->tp_free(tally);
    Py_DECREF(type);
}

static PyMethodDef tally_methods[] = {
    {"begin", (PyCFunction)tally_begin, METH_NOARGS,
     PyDoc_STR("begin($self, /)\n--\n\nCount one request that has come.")},
    {"count", (PyCFunction)tally_count, METH_VARARGS,
     PyDoc_STR("count($self, method, status, route, size, seconds, failed=False, /)\n--\n\nSee traffic.py.")},
    {NULL},
};
static PyMemberDef tally_members[] = {
    {"_by_method", T_OBJECT_EX, offsetof(Tally, of[BY_METHOD]), READONLY, NULL},
    {NULL},
};
static PyType_Slot tally_slots[] = {
    {Py_tp_doc, "What is counted of requests."}, {Py_tp_new, tally_new},         {Py_tp_traverse, tally_traverse},
    {Py_tp_dealloc, tally_dealloc},              {Py_tp_methods, tally_methods}, {Py_tp_members, tally_members},
    {0, NULL},
};
static PyType_Spec tally_spec = {"pyvars._traffic.Tally", sizeof(Tally), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                                 tally_slots};

/* Exchange */

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *tally, *scope, *receive, *send;
    double started;
    Py_ssize_t size;
    long status;
    char open, gone;
} Exchange;

/* The template of the route, as routes.of_scope has it: here where no Mount was on the way, there for the rest. */
static PyObject *
route_of(PyObject *scope)
{
    PyObject *fastapi = find(scope, w_fastapi), *route = NULL, *path = NULL, *mounted = NULL, *found = NULL;
    int special = fastapi == NULL ? PyErr_Occurred() != NULL : PyObject_IsTrue(fastapi);
    if (special == 0 && (route = find(scope, w_route)) != NULL &&
        (path = PyObject_GetAttr(route, w_path_format)) != NULL && PyUnicode_CheckExact(path) &&
        PyUnicode_GET_LENGTH(path) && !PyUnicode_Tailmatch(path, rest, 0, PY_SSIZE_T_MAX, 1)) {
        mounted = find(scope, w_app_root_path);
        if (mounted == NULL && !PyErr_Occurred())
            found = Py_NewRef(path);
    }
    Py_XDECREF(fastapi);
    Py_XDECREF(route);
    Py_XDECREF(path);
    Py_XDECREF(mounted);
    if (found == NULL) {
        PyErr_Clear();
        PyObject *of_scope = PyObject_GetAttr((PyObject *)exchange_type, w__route);
        found = of_scope == NULL ? NULL : PyObject_CallOneArg(of_scope, scope);
        Py_XDECREF(of_scope);
    }
    if (found != NULL)
        return found;
    PyErr_Clear();
    return Py_NewRef(w_unmatched);
}

static int
end(Exchange *exchange, int failed)
{
    if (!exchange->open)
        return 0;
    exchange->open = 0;
    double seconds = now() - exchange->started;
    PyObject *method = find(exchange->scope, w_method), *route = route_of(exchange->scope);
    if (method == NULL || !PyUnicode_CheckExact(method)) {
        PyErr_Clear();
        Py_XSETREF(method, Py_NewRef(other));
    }
    int result = count((Tally *)exchange->tally, method, exchange->status, route, exchange->size, seconds, failed);
    Py_DECREF(method);
    Py_DECREF(route);
    return result;
}

/* What there is to know of a message. A walk over its two or three keys takes less than a look for each word. */
typedef struct {
    PyObject *type, *status, *body, *more_body;
} Message;

#define PLACE_OF(word, IS)                                                                                             \
    (IS(word, w_type)        ? &read.type                                                                              \
     : IS(word, w_status)    ? &read.status                                                                            \
     : IS(word, w_body)      ? &read.body                                                                              \
     : IS(word, w_more_body) ? &read.more_body                                                                         \
                             : NULL)
#define IDENTICAL(one, other) ((one) == (other))

/* 0, or -1 with an error. What is in it, is the caller's. */
static int
read_message(PyObject *message, Message *all)
{
    Message read = {NULL, NULL, NULL, NULL};
    PyObject *key, *value, **place;
    int plain = PyDict_CheckExact(message);
    for (Py_ssize_t at = 0; plain && PyDict_Next(message, &at, &key, &value);) {
        if ((place = PLACE_OF(key, IDENTICAL)) == NULL && (plain = PyUnicode_CheckExact(key)))
            place = PLACE_OF(key, same);
        if (place != NULL)
            *place = value;
    }
    if (plain) {
        Py_XINCREF(read.type);
        Py_XINCREF(read.status);
        Py_XINCREF(read.body);
        Py_XINCREF(read.more_body);
        *all = read;
        return 0;
    }
    PyObject *const words[] = {w_type, w_status, w_body, w_more_body};
    PyObject **const places[] = {&all->type, &all->status, &all->body, &all->more_body};
    for (int n = 0; n < 4; n++) {
        if ((*places[n] = find(message, words[n])) == NULL && PyErr_Occurred())
            return -1;
    }
    return 0;
}

static Py_ssize_t
size_of(PyObject *body)
{
    if (body == NULL || PyBytes_CheckExact(body))
        return body == NULL ? 0 : PyBytes_GET_SIZE(body);
    int some = PyObject_IsTrue(body);
    return some > 0 ? PyObject_Size(body) : some;
}

static int
status_of(PyObject *given, long *status) /* as int() has it; what is too large for a long is too large for a status */
{
    int overflow;
    PyObject *integer = PyNumber_Long(given);
    if (integer == NULL)
        return -1;
    *status = PyLong_AsLongAndOverflow(integer, &overflow);
    if (overflow)
        *status = overflow > 0 ? 600 : -1;
    Py_DECREF(integer);
    return 0;
}

enum { FAILED = -1, PASS, WATCH, EXTENSION };

static int
look(Exchange *exchange, const Message *read) /* what is to be done with the message */
{
    if (read->type == NULL)
        PyErr_SetObject(PyExc_KeyError, w_type);
    else if (!PyUnicode_Check(read->type))
        return PASS;
    else if (same(read->type, response_body)) {
        Py_ssize_t size = size_of(read->body);
        int more = size < 0 ? -1 : read->more_body == NULL ? 0 : PyObject_IsTrue(read->more_body);
        exchange->size += more < 0 ? 0 : size;
        return more < 0 || (more == 0 && end(exchange, 0)) ? FAILED : more ? WATCH : PASS;
    }
    else if (!same(read->type, response_start))
        return EXTENSION;
    else if (exchange->gone)
        return PASS;
    else if (read->status != NULL)
        return status_of(read->status, &exchange->status) ? FAILED : PASS;
    else
        PyErr_SetObject(PyExc_KeyError, w_status);
    return FAILED;
}

/* `send`, and without a message `receive`: one object for both is one less to make. */
static PyObject *
exchange_call(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names)
{
    Exchange *exchange = (Exchange *)self;
    Py_ssize_t number = PyVectorcall_NARGS(flags);
    if (number > 1 || names != NULL) {
        PyErr_SetString(PyExc_TypeError, "send() takes a message, and receive() nothing");
        return NULL;
    }
    if (number == 0)
        return PyObject_CallMethodNoArgs(self, w__received);
    PyObject *message = arguments[0];
    Message read = {NULL, NULL, NULL, NULL};
    int what = read_message(message, &read) ? FAILED : look(exchange, &read);
    Py_XDECREF(read.type);
    Py_XDECREF(read.status);
    Py_XDECREF(read.body);
    Py_XDECREF(read.more_body);
    if (what == WATCH)
        return PyObject_CallMethodOneArg(self, w__watched, message);
    if (what == FAILED || (what == EXTENSION && done(PyObject_CallMethodOneArg(self, w__extension, message))))
        return NULL;
    return PyObject_CallOneArg(exchange->send, message);
}

static PyObject *
exchange_end(Exchange *exchange, PyObject *failed)
{
    int truth = PyObject_IsTrue(failed);
    return truth < 0 || end(exchange, truth) ? NULL : Py_NewRef(Py_None);
}

static int
exchange_traverse(Exchange *exchange, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(exchange));
    Py_VISIT(exchange->tally);
    Py_VISIT(exchange->scope);
    Py_VISIT(exchange->receive);
    Py_VISIT(exchange->send);
    return 0;
}

static void
exchange_dealloc(Exchange *exchange)
{
    PyTypeObject *type = Py_TYPE(exchange);
    PyObject_GC_UnTrack(exchange);
    Py_XDECREF(exchange->tally);
    Py_XDECREF(exchange->scope);
    Py_XDECREF(exchange->receive);
    Py_XDECREF(exchange->send);
    type->tp_free(exchange);
    Py_DECREF(type);
}

static PyMethodDef exchange_methods[] = {
    {"_end", (PyCFunction)exchange_end, METH_O, NULL},
    {NULL},
};
static PyMemberDef exchange_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Exchange, call), READONLY, NULL},
    {"_receive", T_OBJECT_EX, offsetof(Exchange, receive), READONLY, NULL},
    {"_send", T_OBJECT_EX, offsetof(Exchange, send), READONLY, NULL},
    {"_status", T_LONG, offsetof(Exchange, status), 0, NULL},
    {"_gone", T_BOOL, offsetof(Exchange, gone), 0, NULL},
    {NULL},
};
static PyType_Slot exchange_slots[] = {
    {Py_tp_doc, "What stands in for `receive` and `send` of one request."},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_traverse, exchange_traverse},
    {Py_tp_dealloc, exchange_dealloc},
    {Py_tp_methods, exchange_methods},
    {Py_tp_members, exchange_members},
    {0, NULL},
};
static PyType_Spec exchange_spec = {"pyvars._traffic.Exchange", sizeof(Exchange), 0,
                                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                                        Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                    exchange_slots};

/* Run: the coroutine of Exchange.run, without a frame of its own. */

typedef struct {
    PyObject_HEAD
    PyObject *exchange, *app;
    PyObject *running; /* the coroutine of the application: NULL before and after */
    char begun, executing;
} Run;

#if PY_VERSION_HEX < 0x030C0000
static PyObject *
raised(void) /* the error that is set, which it is no longer; or NULL */
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    if (type != NULL)
        PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return error;
}

static void
raise_again(PyObject *error)
{
    if (error != NULL)
        PyErr_Restore(Py_NewRef(Py_TYPE(error)), error, PyException_GetTraceback(error));
}
#else
#define raised PyErr_GetRaisedException
#define raise_again PyErr_SetRaisedException
#endif

static PyObject *
awaited(PyObject *awaitable) /* a coroutine that awaits it; a new reference, as what is given is one */
{
    PyObject *function = PyObject_GetAttr((PyObject *)run_type, w__awaited);
    PyObject *coroutine = function == NULL ? NULL : PyObject_CallOneArg(function, awaitable);
    Py_XDECREF(function);
    Py_DECREF(awaitable);
    return coroutine;
}

/* Call the application: -1 with an error if there is no coroutine of it, or if this cannot be begun. */
static int
begin(Run *run)
{
    Exchange *exchange = (Exchange *)run->exchange;
    PyObject *self = run->exchange, *arguments[] = {exchange->scope, self, self};
    run->begun = 1;
    if (add((Tally *)exchange->tally, IN_FLIGHT, 1))
        return -1;
    exchange->open = 1;
    exchange->started = now();
    run->running = PyObject_Vectorcall(run->app, arguments, 3, NULL);
    if (run->running != NULL && !PyCoro_CheckExact(run->running))
        run->running = awaited(run->running);
    if (run->running != NULL)
        return 0;
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) { /* which would end who awaits this: PEP 479 */
        PyObject *error = raised();
        PyErr_SetString(PyExc_RuntimeError, "the application raised StopIteration");
        PyObject *instead = raised();
        PyException_SetCause(instead, error);
        raise_again(instead);
    }
    return -1;
}

/* The application has returned, or raised the error that is set; -1 if there is one. */
static int
leave(Run *run)
{
    PyObject *error = raised();
    Py_CLEAR(run->running);
    if (((Exchange *)run->exchange)->open &&
        done(PyObject_CallMethodOneArg(run->exchange, w__leave, error ? error : Py_None))) {
        PyObject *another = raised();
        PyException_SetContext(another, error); /* it takes the reference */
        raise_again(another);
        return -1;
    }
    raise_again(error);
    return error == NULL ? 0 : -1;
}

/* 0 if it may go on, else -1 with an error. */
static int
enter(Run *run, PyObject *value)
{
    if (run->executing)
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
    else if (run->begun && run->running == NULL)
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    else if (!run->begun && value != Py_None)
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started coroutine");
    else {
        run->executing = 1;
        return 0;
    }
    return -1;
}

static PySendResult
run_proceed(PyObject *self, PyObject *value, PyObject **result)
{
    Run *run = (Run *)self;
    PySendResult how = PYGEN_ERROR;
    *result = NULL;
    if (enter(run, value))
        return PYGEN_ERROR;
    if (run->begun || begin(run) == 0)
        how = PyIter_Send(run->running, value, result);
    run->executing = 0;
    if (how == PYGEN_NEXT)
        return how;
    Py_CLEAR(*result); /* nobody looks at what an application returns */
    if (leave(run))
        return PYGEN_ERROR;
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static PyObject *
run_next(PyObject *self)
{
    PyObject *result;
    if (run_proceed(self, Py_None, &result) == PYGEN_RETURN)
        Py_CLEAR(result);
    return result;
}

static PyObject *
run_send(PyObject *self, PyObject *value)
{
    PyObject *result;
    if (run_proceed(self, value, &result) == PYGEN_RETURN) {
        Py_CLEAR(result);
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

static PyObject *
run_throw(Run *run, PyObject *arguments)
{
    if (enter(run, Py_None))
        return NULL;
    int first = !run->begun; /* then nothing is run, but what is thrown is raised: by another that has not begun */
    run->begun = 1;
    PyObject *inner = first ? awaited(Py_NewRef(Py_None)) : Py_NewRef(run->running);
    PyObject *throw = inner == NULL ? NULL : PyObject_GetAttr(inner, w_throw);
    PyObject *result = throw == NULL ? NULL : PyObject_CallObject(throw, arguments);
    Py_XDECREF(throw);
    Py_XDECREF(inner);
    run->executing = 0;
    if (first || result != NULL)
        return result;
    if (PyErr_ExceptionMatches(PyExc_StopIteration)) /* so a coroutine returns that is thrown into */
        PyErr_Clear();
    if (leave(run) == 0)
        PyErr_SetNone(PyExc_StopIteration);
    return NULL;
}

static PyObject *
run_close(Run *run, PyObject *Py_UNUSED(none))
{
    if (run->executing) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return NULL;
    }
    run->begun = 1;
    if (run->running == NULL)
        Py_RETURN_NONE;
    run->executing = 1;
    if (done(PyObject_CallMethodNoArgs(run->running, w_close)) == 0)
        PyErr_SetNone(PyExc_GeneratorExit);
    run->executing = 0;
    leave(run);
    if (!PyErr_ExceptionMatches(PyExc_GeneratorExit))
        return NULL;
    PyErr_Clear();
    Py_RETURN_NONE;
}

/* One that nobody awaits, or not to its end, as a coroutine does it. */
static void
run_finalize(PyObject *self)
{
    PyObject *error = raised();
    if (!((Run *)self)->begun &&
        PyErr_WarnEx(PyExc_RuntimeWarning, "coroutine 'Middleware.__call__' was never awaited", 1))
        PyErr_WriteUnraisable(self);
    if (done(run_close((Run *)self, NULL)))
        PyErr_WriteUnraisable(self);
    raise_again(error);
}

/* Whoever follows a chain of coroutines, to show where a task is, finds that of the application in its place. */
static PyObject *
run_shown(Run *run, void *name)
{
    if (run->running != NULL)
        return PyObject_GetAttrString(run->running, name);
    if (run->begun)
        Py_RETURN_NONE;
    PyErr_Format(PyExc_AttributeError, "%s: the application has not begun", name);
    return NULL;
}

static PyObject *
run_state(Run *run, void *suspended)
{
    return PyBool_FromLong(suspended == NULL ? run->executing : run->running != NULL && !run->executing);
}

static PyObject *
run_name(PyObject *Py_UNUSED(self), void *name)
{
    return PyUnicode_FromString(name);
}

static PyObject *
counted(PyObject *tally, PyObject *app, PyObject *scope, PyObject *receive, PyObject *send)
{
    Exchange *exchange = (Exchange *)exchange_type->tp_alloc(exchange_type, 0);
    Run *run = exchange == NULL ? NULL : (Run *)run_type->tp_alloc(run_type, 0);
    if (run == NULL) {
        Py_XDECREF(exchange);
        return NULL;
    }
    exchange->call = exchange_call;
    exchange->tally = Py_NewRef(tally);
    exchange->scope = Py_NewRef(scope);
    exchange->receive = Py_NewRef(receive);
    exchange->send = Py_NewRef(send);
    run->exchange = (PyObject *)exchange;
    run->app = Py_NewRef(app);
    return (PyObject *)run;
}

static PyObject *
module_counted(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t number)
{
    if (number == 5 && Py_IS_TYPE(given[0], tally_type))
        return counted(given[0], given[1], given[2], given[3], given[4]);
    PyErr_SetString(PyExc_TypeError, "counted() takes a Tally, app, scope, receive and send");
    return NULL;
}

static int
run_traverse(Run *run, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(run));
    Py_VISIT(run->exchange);
    Py_VISIT(run->app);
    Py_VISIT(run->running);
    return 0;
}

static int
run_clear(Run *run) /* the rest may still be asked for, by the end of the coroutine */
{
    Py_CLEAR(run->running);
    return 0;
}

static void
run_dealloc(Run *run)
{
    PyTypeObject *type = Py_TYPE(run);
    if ((run->running != NULL || !run->begun) && PyObject_CallFinalizerFromDealloc((PyObject *)run) < 0)
        return; /* somebody has it again */
    PyObject_GC_UnTrack(run);
    Py_XDECREF(run->running);
    Py_XDECREF(run->exchange);
    Py_XDECREF(run->app);
    type->tp_free(run);
    Py_DECREF(type);
}

static PyMethodDef run_methods[] = {
    {"send", run_send, METH_O, NULL},
    {"throw", (PyCFunction)run_throw, METH_VARARGS, NULL},
    {"close", (PyCFunction)run_close, METH_NOARGS, NULL},
    {NULL},
};
static PyGetSetDef run_getters[] = {
    {"__name__", run_name, NULL, NULL, "__call__"},
    {"__qualname__", run_name, NULL, NULL, "Middleware.__call__"},
    {"cr_await", (getter)run_shown, NULL, NULL, "cr_await"},
    {"cr_frame", (getter)run_shown, NULL, NULL, "cr_frame"},
    {"cr_code", (getter)run_shown, NULL, NULL, "cr_code"},
    {"cr_running", (getter)run_state, NULL, NULL, NULL},
    {"cr_suspended", (getter)run_state, NULL, NULL, "suspended"},
    {NULL},
};
static PyType_Slot run_slots[] = {
    {Py_tp_doc, "One request under way through an application."},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, run_proceed},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, run_next},
    {Py_tp_traverse, run_traverse},
    {Py_tp_clear, run_clear},
    {Py_tp_finalize, run_finalize},
    {Py_tp_dealloc, run_dealloc},
    {Py_tp_methods, run_methods},
    {Py_tp_getset, run_getters},
    {0, NULL},
};
static PyType_Spec run_spec = {"pyvars._traffic.Run", sizeof(Run), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, run_slots};

/* Shortcut: what the __call__ of a middleware does where nothing is to be awaited before the application is. For all
   else it calls that; and whoever asks what it is finds the coroutine function that it stands for. */

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *function, *requested, *weak;
    PyTypeObject *class;         /* of which there may be subclasses that do it in another way */
    Py_ssize_t app, site, tally; /* the offsets of its slots */
} Shortcut;

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

static PyObject *
shortcut_call(PyObject *self, PyObject *const *arguments, size_t flags, PyObject *names)
{
    Shortcut *shortcut = (Shortcut *)self;
    if (PyVectorcall_NARGS(flags) != 4 || names != NULL || !Py_IS_TYPE(arguments[0], shortcut->class) ||
        !PyDict_CheckExact(arguments[1]))
        goto longer;
    PyObject *scope = arguments[1], *type = PyDict_GetItemWithError(scope, w_type), *path, *result;
    if (type == NULL || !PyUnicode_CheckExact(type) || !same(type, w_http) ||
        (path = PyDict_GetItemWithError(scope, w_path)) == NULL || !PyUnicode_CheckExact(path))
        goto longer;
    PyObject *site = SLOT(arguments[0], shortcut->site), *tally = SLOT(arguments[0], shortcut->tally);
    PyObject *app = SLOT(arguments[0], shortcut->app);
    if (site == NULL || tally == NULL || app == NULL || (tally != Py_None && !Py_IS_TYPE(tally, tally_type)) ||
        (site != Py_None && PyUnicode_Contains(path, debug)))
        goto longer;
    if (site != Py_None && add_integer((Cell *)shortcut->requested, 1))
        return NULL;
    Py_INCREF(app); /* another may take its place meanwhile */
    Py_INCREF(tally);
    if (tally != Py_None)
        result = counted(tally, app, scope, arguments[2], arguments[3]);
    else {
        result = PyObject_Vectorcall(app, arguments + 1, 3, NULL);
        if (result != NULL && !PyCoro_CheckExact(result))
            result = awaited(result);
    }
    Py_DECREF(tally);
    Py_DECREF(app);
    return result;
longer:
    PyErr_Clear(); /* it meets the same */
    return PyObject_Vectorcall(shortcut->function, arguments, flags, names);
}

static PyObject *
shortcut_make(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(names))
{
    PyObject *class, *function, *requested, *slots[3];
    if (!PyArg_ParseTuple(arguments, "O!OOO!O!O!", &PyType_Type, &class, &function, &requested, &PyMemberDescr_Type,
                          &slots[0], &PyMemberDescr_Type, &slots[1], &PyMemberDescr_Type, &slots[2]))
        return NULL;
    int fit = IS_INTEGER(requested);
    for (int n = 0; n < 3; n++)
        fit = fit && PyType_IsSubtype((PyTypeObject *)class, PyDescr_TYPE(slots[n]));
    if (!fit) {
        PyErr_SetString(PyExc_TypeError, "Shortcut() takes a class, a function, an Int, and three slots of the class");
        return NULL;
    }
    Shortcut *shortcut = (Shortcut *)type->tp_alloc(type, 0);
    if (shortcut == NULL)
        return NULL;
    shortcut->call = shortcut_call;
    shortcut->function = Py_NewRef(function);
    shortcut->requested = Py_NewRef(requested);
    shortcut->class = (PyTypeObject *)Py_NewRef(class);
    shortcut->app = ((PyMemberDescrObject *)slots[0])->d_member->offset;
    shortcut->site = ((PyMemberDescrObject *)slots[1])->d_member->offset;
    shortcut->tally = ((PyMemberDescrObject *)slots[2])->d_member->offset;
    return (PyObject *)shortcut;
}

static PyObject *
shortcut_get(PyObject *self, PyObject *instance, PyObject *Py_UNUSED(owner))
{
    return instance == NULL || instance == Py_None ? Py_NewRef(self) : PyMethod_New(self, instance);
}

static PyObject *
shortcut_getattro(PyObject *self, PyObject *name)
{
    return PyObject_GetAttr(((Shortcut *)self)->function, name);
}

static int
shortcut_traverse(Shortcut *shortcut, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(shortcut));
    Py_VISIT(shortcut->function);
    Py_VISIT(shortcut->requested);
    Py_VISIT(shortcut->class);
    return 0;
}

static void
shortcut_dealloc(Shortcut *shortcut)
{
    PyTypeObject *type = Py_TYPE(shortcut);
    PyObject_GC_UnTrack(shortcut);
    if (shortcut->weak != NULL)
        PyObject_ClearWeakRefs((PyObject *)shortcut);
    Py_DECREF(shortcut->function);
    Py_DECREF(shortcut->requested);
    Py_DECREF(shortcut->class);
    type->tp_free(shortcut);
    Py_DECREF(type);
}

static PyMemberDef shortcut_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Shortcut, call), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Shortcut, weak), READONLY, NULL},
    {NULL},
};
static PyType_Slot shortcut_slots[] = {
    {Py_tp_doc, "The __call__ of a middleware."},
    {Py_tp_new, shortcut_make},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, shortcut_get},
    {Py_tp_getattro, shortcut_getattro},
    {Py_tp_traverse, shortcut_traverse},
    {Py_tp_dealloc, shortcut_dealloc},
    {Py_tp_members, shortcut_members},
    {0, NULL},
};
static PyType_Spec shortcut_spec = {"pyvars._traffic.Shortcut", sizeof(Shortcut), 0,
                                    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                                        Py_TPFLAGS_METHOD_DESCRIPTOR,
                                    shortcut_slots};

/* The module */

static PyTypeObject *
add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0)
        Py_CLEAR(type);
    return (PyTypeObject *)type;
}

static int
made_by(PyObject *cells, const char *name, newfunc *maker)
{
    PyObject *type = PyObject_GetAttrString(cells, name);
    if (type != NULL)
        *maker = ((PyTypeObject *)type)->tp_new;
    return done(type);
}

static int
module_exec(PyObject *module)
{
#ifdef Py_GIL_DISABLED
    PyErr_SetString(PyExc_ImportError, "this looks into dicts that other threads could change meanwhile");
    return -1;
#endif
    if (tally_type != NULL) { /* its types and words are kept for the whole process; others take what is in Python */
        PyErr_SetString(PyExc_ImportError, "pyvars._traffic can be imported once in a process");
        return -1;
    }
    static const char *const names[] = {"499", "1xx", "2xx", "3xx", "4xx", "5xx"};
#define INTERN(word) w_##word = PyUnicode_InternFromString(#word);
    WORDS(INTERN)
    response_start = PyUnicode_InternFromString("http.response.start");
    response_body = PyUnicode_InternFromString("http.response.body");
    debug = PyUnicode_InternFromString("/debug/");
    rest = PyUnicode_InternFromString("/{path}");
    other = PyUnicode_InternFromString("__other__");
    for (int n = 0; n < 6; n++)
        classes[n] = PyUnicode_InternFromString(names[n]);
    PyObject *cells = PyImport_ImportModule("pyvars._cells");
    if (cells == NULL || made_by(cells, "IntCell", &makers.integer) || made_by(cells, "Counts", &makers.counts) ||
        made_by(cells, "Buckets", &makers.buckets)) {
        Py_XDECREF(cells);
        return -1;
    }
    Py_DECREF(cells);
    if (PyErr_Occurred() || (exchange_type = add_type(module, &exchange_spec)) == NULL ||
        (run_type = add_type(module, &run_spec)) == NULL || (tally_type = add_type(module, &tally_spec)) == NULL)
        return -1;
    PyTypeObject *shortcut_type = add_type(module, &shortcut_spec);
    Py_XDECREF(shortcut_type);
    return shortcut_type == NULL ? -1 : 0;
}

static PyMethodDef module_methods[] = {
    {"counted", (PyCFunction)(void (*)(void))module_counted, METH_FASTCALL,
     PyDoc_STR("counted($module, tally, app, scope, receive, send, /)\n--\n\nSee exchange.py.")},
    {NULL},
};
static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_MOD_GIL_NOT_USED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "pyvars._traffic", PyDoc_STR("What every request pays, in C."), 0,
    module_methods,        module_slots,      NULL,
    NULL,                  NULL,
};

PyMODINIT_FUNC
PyInit__traffic(void)
{
    return PyModuleDef_Init(&module);
}
