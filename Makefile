# Every command of the project. `make demo` shows the pooler at work, `make test` runs every test,
# `make check` is what CI asks beside the tests. All but `make test-deb`, `make test-versions` and
# `make deb ARCH=...` work as root and as an ordinary user (with sudo where something must be installed
# first).

prefix   ?= /usr/local
bindir   ?= $(prefix)/bin
mandir   ?= $(prefix)/share/man
sharedir ?= $(prefix)/share/pgbouncer

CARGO   ?= cargo
TARGET  := $(or $(CARGO_TARGET_DIR),target)
INSTALL ?= install

# How many seeds each entry point is given by `make fuzz`.
SEEDS   ?= 1000000

.PHONY: build demo test test-clients page scrape instructions check check-advisories check-manual idle-pools fuzz \
	fuzz-differential stress test-outside bench documents install deb check-deb test-deb test-versions clean

build:
	scripts/prepare build
	$(CARGO) build --release --locked

demo: build
	scripts/prepare postgresql
	scripts/demo $(TARGET)/release/pgbouncer

# ---------------------------------------------------------------------------------------------
# Tests.

test:
	scripts/prepare build all
	$(CARGO) test --locked --no-fail-fast

# Only the tests with real clients, all of which must be there.
test-clients:
	scripts/prepare build all rust go
	PGBOUNCER_TESTS_CLIENTS=all $(CARGO) test --locked --test clients

# The page in a headless Chromium, and screenshots of it in target/page. Not among the tests: the
# browser takes half a gigabyte.
page:
	scripts/prepare build postgresql chromium
	$(CARGO) test --locked --test page -- --ignored --nocapture

# What a scrape costs single turns of the loop, with hundreds and thousands of pools.
scrape:
	$(CARGO) test --locked --release --lib cost_of_a_scrape -- --ignored --nocapture

# What a query costs the released program, by instructions, and that it costs no more than it did.
# Not among the tests: it builds that program, and needs valgrind.
instructions: build
	PGBOUNCER_BIN=$(TARGET)/release/pgbouncer $(CARGO) test --locked --test instructions -- --nocapture

check: check-manual check-advisories
	scripts/prepare build
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features -- -D warnings
	$(CARGO) test --locked --test tidy --test packaging

# Known faults of the crates that we use, where a program that knows them is installed.
check-advisories:
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check advisories; \
	elif $(CARGO) audit --version >/dev/null 2>&1; then $(CARGO) audit; \
	else echo "SKIPPED: neither cargo-deny nor cargo-audit is installed"; fi

check-manual:
	scripts/prepare manual
	scripts/check-manual

# What thousands of idle pools cost a turn of the loop and a sweep.
idle-pools:
	$(CARGO) test --locked --release --lib cost_of_idle_pools -- --ignored --nocapture

# Optimised, but with the checks of arithmetic that a release leaves out.
fuzz:
	PGBOUNCER_FUZZ_SEEDS=$(SEEDS) CARGO_PROFILE_DEV_OPT_LEVEL=2 \
		$(CARGO) test --locked --target-dir $(TARGET)/fuzz --test fuzz

# The same programs of messages to PostgreSQL and through the pooler, SEEDS of them and a tenth of
# that to companies of clients. From another seed on with PGBOUNCER_DIFFERENTIAL_FROM.
fuzz-differential:
	PGBOUNCER_DIFFERENTIAL_SEEDS=$(SEEDS) $(CARGO) test --locked --test differential

# A hundred clients that vanish, cancel and lose their servers, for so many SECONDS.
SECONDS ?= 600
stress:
	PGBOUNCER_STRESS_SECONDS=$(SECONDS) $(CARGO) test --locked --test stress -- --nocapture

# Other projects' own tests, direct and through the pooler; SUITES names some of them.
test-outside: build
	scripts/prepare postgresql php outside
	scripts/test-outside $(SUITES)

# BENCH takes the options of bench/bench.py, as in `make bench BENCH="--work simple,rows"`.
bench: build
	scripts/prepare postgresql python compiler reference
	$(TARGET)/venv/bin/python bench/bench.py $(TARGET)/release/pgbouncer \
		--debian $(TARGET)/reference/usr/sbin/pgbouncer $(BENCH)

# ---------------------------------------------------------------------------------------------
# The manual, the files of etc/, and where they go.

# Writes the parts of doc/ and etc/ that come from tables.
documents:
	PGBOUNCER_WRITE_DOCUMENTS=1 $(CARGO) test --locked --lib documents

# By the name of the file, so that `sudo make install` needs no Rust after `make build`.
$(TARGET)/release/pgbouncer:
	$(MAKE) build

install: $(TARGET)/release/pgbouncer
	$(INSTALL) -D -m 755 -t $(DESTDIR)$(bindir) $(TARGET)/release/pgbouncer
	$(INSTALL) -D -m 644 -t $(DESTDIR)$(mandir)/man1 doc/pgbouncer.1
	$(INSTALL) -D -m 644 -t $(DESTDIR)$(mandir)/man5 doc/pgbouncer.ini.5
	ln -sf pgbouncer.ini.5 $(DESTDIR)$(mandir)/man5/pgbouncer.5
	$(INSTALL) -D -m 644 -t $(DESTDIR)$(sharedir) LICENSE \
		etc/pgbouncer.ini etc/pgbouncer-minimal.ini etc/userlist.txt
	$(INSTALL) -D -m 755 -t $(DESTDIR)$(sharedir) etc/mkauth

# ---------------------------------------------------------------------------------------------
# The Debian package.

# The packages stand in target/deb; with ARCH=arm64 or ARCH=armhf, built as root in a Debian of its own
# and tested under qemu, in target/deb-ARCH.
deb:
	scripts/prepare build package
	$(if $(filter-out amd64,$(ARCH)),scripts/deb-cross $(ARCH),scripts/deb)

# Two builds give the same bytes, and lintian is content.
check-deb:
	scripts/prepare build package lintian
	scripts/check-deb

# The package in a Debian of its own, with its systemd: the guide, upgrades, removal. As root.
test-deb:
	scripts/test-deb

# Each PostgreSQL of Debian's releases as server and as client. As root.
test-versions:
	scripts/test-versions

clean:
	$(CARGO) clean
	rm -rf target
