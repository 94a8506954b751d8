"""The formats of the page: JSON, the text formats of Prometheus, and the JSON of golang-stats-api-handler.

What users of Go's expvar write, and what it is in pyvars:

    x := expvar.NewInt("x")             x = publish("x", Int())
    x.Add(1), x.Set(5), x.Value()       x.add(), x.set(5), x.value          64 bits; an OverflowError where Go wraps
    NewFloat, NewString, NewMap         Float(), String("..."), Map()
    m.Add(k, 1), m.AddFloat(k, f)       m.add(k), m.add(k, f)               an integer that meets a float becomes one
    m.Get(k), m.Set(k, v)               m[k], m.var(k), m.set(k, variable)  m[k] is the value, m.var(k) the variable
    m.Delete(k), m.Init(), m.Do(f)      m.delete(k), m.clear(), iteration   max_keys=1000; others count in `__other__`
    expvar.Publish(n, expvar.Func(f))   publish(n, f)
    expvar.Get(n), expvar.Do(f)         get(n), default_registry.items()
    (none)                              delete(n), Registry()
    a name used twice: log.Panic        DuplicateNameError, or exist_ok=True
    the import mounts the page          an integration mounts it

The page is one JSON object with one variable on each line, sorted by name. It is always valid JSON. NaN and the
infinities are null. A variable that fails is null alone, and `pyvars.errors` names it with one of these types, never
with the text of an exception, which only the log has:

    a class      the function raised this exception, or (TypeError) returned what has no JSON form
    stale        the function has not returned yet: the value is that of its last call, `age_seconds` old, at most 10 s;
                 with combine= that of the `workers` named
    timeout      it had not returned after 200 ms, or has not returned since an earlier page; it is not called again
                 before it returns. With combine=, the `workers` named did not answer and have no value of the last 10 s
    busy         the machine did not let it run within a second
    skipped      there is no thread for it: four calls have run for over a second, and all other threads are in use
    incomplete   at `pyvars.workers`: the sums lack numbers of the `workers` named, because there is no room for them,
                 no file could be opened, or a file is damaged; `pyvars.workers` has the reason
    truncated    a text in it is cut: a String after 64 KiB, an argument or the name of a thread after less
    too_large    its value takes over 1 MiB of JSON

What programs that read the page cannot take. A name of this kind is a PyvarsWarning when it is published:

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

Readers that compute in floats (JavaScript, Elasticsearch) round integers above 2**53; on the page they are exact.

For the reader of the code: each format is one file, which makes bytes from data and reads no registry.
"""
