module go_expvar

go 1.22
