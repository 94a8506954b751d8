// The peer of page.py and http.py: Go's own expvar with N Ints. With a second argument it serves them over HTTP, else it
// is asked for pages over stdin:
//
// A line with a number renders that many pages, and is answered with the median and the mean time of one in
// nanoseconds. The line "page" is answered with the page itself, on one line.
package main

import (
	"bufio"
	"bytes"
	"expvar"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"
)

// writer is a ResponseWriter without a connection.
type writer struct {
	header http.Header
	body   io.Writer
}

func (w *writer) Header() http.Header            { return w.header }
func (w *writer) Write(text []byte) (int, error) { return w.body.Write(text) }
func (w *writer) WriteHeader(int)                {}

func render(body io.Writer) time.Duration {
	w := &writer{http.Header{}, body}
	started := time.Now()
	expvar.Handler().ServeHTTP(w, request)
	return time.Since(started)
}

var request, _ = http.NewRequest("GET", "/debug/vars", nil)

func main() {
	size := number(os.Args[1])
	for i := range size {
		expvar.NewInt(fmt.Sprintf("counter_%06d", i)).Set(int64(i) * 7919)
	}
	if len(os.Args) > 2 {
		serve()
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == "page" {
			var body bytes.Buffer
			render(&body)
			fmt.Println(string(bytes.ReplaceAll(body.Bytes(), []byte("\n"), nil)))
			continue
		}
		times := make([]time.Duration, number(lines.Text()))
		var total time.Duration
		for i := range times {
			times[i] = render(io.Discard)
			total += times[i]
		}
		slices.Sort(times)
		fmt.Println(times[len(times)/2].Nanoseconds(), total.Nanoseconds()/int64(len(times)))
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		log.Fatal(err)
	}
	return n
}
