# Two commands do all the set-up: `make demo` and `make test`.

# cgo needs a C compiler and the headers of the C library. Debian's gcc does not install them, and Go does not check.
export CGO_ENABLED ?= $(shell cc -E -x c -include stdlib.h /dev/null >/dev/null 2>&1 && echo 1 || echo 0)

.PHONY: demo test bench fuzz lint picture vulnerabilities

demo: ## set this machine up and release the example flake
	go run ./ci demo

test: ## set this machine up and run the tests; those that need an engine run where one is installed
	go run ./ci doctor --fix
	.ci/test ./...

bench: ## measure on the host engine, and print the table of docs/benchmarks.md
	go run ./ci doctor --fix
	.ci/bench

fuzz: ## each fuzz target for 30 seconds
	.ci/fuzz

lint:
	test -z "$$(go tool gofumpt -l .)" || { go tool gofumpt -d .; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	! go tool deadcode -test ./... | grep -v 'String$$' # fmt calls String and GoString
	go tool actionlint .github/workflows/*.yml

picture: ## release the example flake, and draw the picture of README.md from that run
	.ci/picture

vulnerabilities: ## known vulnerabilities of the code that is used; queries a database on the web
	go tool govulncheck ./...
