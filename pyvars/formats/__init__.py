"""The formats of the page: JSON, the text formats of Prometheus, and the JSON of golang-stats-api-handler.

What users of Go's expvar write, and what it is in pyvars:

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
infinities are null. If a variable fails, only its own value is null, and `pyvars.errors` names it with one of these
types. The text of an exception is never on the page; only the log has it.

    a class      the function raised this exception, or (TypeError) returned a value that has no JSON form
    stale        the function has not returned yet: the value is that of its last call, `age_seconds` ago, at most 10 s;
                 with combine=, this is so in the `workers` named
    timeout      the function did not return within 200 ms, or has not returned since an earlier page; it is not called
                 again before it returns. With combine=, the `workers` named did not answer, and have no value of the
                 last 10 s
    busy         the machine was so busy that the function did not run within a second
    skipped      no thread can run it: all threads (four or more) are in calls that have run for over a second, or none
                 can be started
    incomplete   for `pyvars.workers`: numbers of the `workers` named are missing in the sums, because there is no room
                 for them, no file could be opened, or a file is damaged; `pyvars.workers` has the reason
    truncated    a text in the value is cut: a String after 64 KiB, arguments and names of threads after 1024 characters
    too_large    the value takes over 1 MiB of JSON

Names that some readers of the page cannot handle. Publishing such a name is a PyvarsWarning:

    a name that is not ASCII                  prometheus-expvar-exporter         loses the whole page
    a name beside a longer one: http, http.x  Metricbeat into Elasticsearch      loses the document
    a blank part of a dotted name or key:     the same                           loses the document
      " ", ".a", "b.", "c..d"; over 18 parts, or 20 levels with nesting
    an empty key; integers above 2**63 - 1    the same                           loses the document
    build, crypto, system                     Telegraf, inputs.influxdb          loses this variable
    a name that contains memstats             SignalFx, Splunk's smartagent      mixes it up with memstats
    over 126 levels of lists and objects      collectd                           loses what follows on the page
    a slash in a name                         Datadog, collectd                  lose this variable

Which values a function may return, and the JSON form of each: help("pyvars.formats.forms").

Integers on the page are exact, but readers that compute in floats (JavaScript, Elasticsearch) round those above 2**53.

In the code each format is one file, which makes bytes from data and reads no registry.
"""
