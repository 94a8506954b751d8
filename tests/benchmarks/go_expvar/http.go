package main

import (
	_ "expvar"
	"fmt"
	"log"
	"net"
	"net/http"
)

// serve answers /debug/vars as a Go program does that imports expvar, on a free port that it prints.
func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, nil))
}
