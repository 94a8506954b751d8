"""The formats of the page: JSON, the text formats of Prometheus, and the JSON of golang-stats-api-handler.

The calls of Go's expvar, and the corresponding calls of pyvars:

    x := expvar.NewInt("x")             x = publish("x", Int())
    x.Add(1), x.Set(5), x.Value()       x.add(), x.set(5), x.value          64 bits; an OverflowError where Go wraps
    NewFloat, NewString, NewMap         Float(), String("..."), Map()
    m.Add(k, 1), m.AddFloat(k, f)       m.add(k), m.add(k, f)               adding a float to an integer makes a float
    m.Get(k), m.Set(k, v)               m[k], m.var(k), m.set(k, variable)  m[k] is the value, m.var(k) the variable
    m.Delete(k), m.Init(), m.Do(f)      m.delete(k), m.clear(), iteration   after 1000 keys: `__other__` (max_keys=)
    expvar.Publish(n, expvar.Func(f))   publish(n, f)
    expvar.Get(n), expvar.Do(f)         get(n), default_registry.items()
    (none)                              delete(n), Registry()
    a name used twice: log.Panic        DuplicateNameError, or exist_ok=True
    the import mounts the page          an integration mounts it

The page is one JSON object with one variable on each line, sorted by name. It is always valid JSON. NaN and the
infinities are null. If a variable fails, only its own value is null. The member `pyvars.errors` of the page names the
variable, with a `type` from the list below. The text of an exception is in the log, never on the page.

    ValueError   or another class of exceptions, which the function raised
    TypeError    the function raised it, or the value that it returned has no JSON form
    stale        the value is from an earlier call, `age_seconds` ago: the function has not returned yet, and the value
                 is at most 10 s old; or, with every=, no call has returned for three periods. With combine=, the
                 values of the workers in `workers` are from earlier calls
    timeout      the function did not return within 200 ms, or a call for an earlier page still runs; pyvars does not
                 call a function again before it returns. With combine=, the workers in `workers` did not answer, and
                 their last values are over 10 s old
    busy         the machine was so busy that the function did not start within a second; or, with every=, the first
                 call has not returned yet
    skipped      no thread can run the function: all threads (at least four) are in calls that have run for over a
                 second, or no thread can be started
    incomplete   of `pyvars.workers`: the sums on the page lack numbers of the workers in `workers`, because there is no
                 room for them, a file cannot be opened, or a file is damaged; the reason is in `pyvars.workers`
    truncated    a text in the value is cut: a String after 64 KiB, arguments and names of threads after 1024 characters
    too_large    the JSON of the value has over 1 MiB

Some readers of the page cannot handle the names and values below. Publishing such a name causes a PyvarsWarning. There
is none for an empty key, an integer above 2**63 - 1, deep nesting, and a slash:

    a name that is not ASCII                  prometheus-expvar-exporter         loses the whole page
    a name beside a longer one: http, http.x  Metricbeat into Elasticsearch      loses the document
    a blank part of a dotted name or key:     the same                           loses the document
      " ", ".a", "b.", "c..d"; over 18 parts, or 20 levels with nesting
    an empty key; integers above 2**63 - 1    the same                           loses the document
    build, crypto, system                     Telegraf, inputs.influxdb          loses this variable
    a name that contains memstats             SignalFx, Splunk's smartagent      take it for memstats
    over 126 levels of lists and objects      collectd                           loses the variables after it
    a slash in a name                         Datadog, collectd                  lose this variable

Which values a function may return, and the JSON form of each: help("pyvars.formats.forms").

Integers on the page are exact, but readers that compute in floats (JavaScript, Elasticsearch) round those above 2**53.

Each format is one module, which converts data to bytes and reads no registry.
"""
