# Every command of the project. `make demo` shows the pooler at work, `make test` runs every test,
# `make check` is what CI asks beside the tests. All of them work as root and as an ordinary user
# (with sudo where something must be installed first).

prefix  ?= /usr/local
bindir  ?= $(prefix)/bin
mandir  ?= $(prefix)/share/man
sharedir ?= $(prefix)/share/pgbouncer

CARGO   ?= cargo
TARGET  := $(or $(CARGO_TARGET_DIR),target)
INSTALL ?= install

# How many seeds each fuzz entry point is given by `make fuzz`.
SEEDS   ?= 1000000

.PHONY: build demo test test-clients check bench fuzz install clean

build:
	$(CARGO) build --release --locked

demo: build
	scripts/prepare postgresql
	scripts/demo $(TARGET)/release/pgbouncer

test:
	scripts/prepare all
	$(CARGO) test --locked --no-fail-fast

# Only the tests with real clients, all of which must be there.
test-clients:
	scripts/prepare all
	$(CARGO) test --locked --test clients

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked --test tidy

# BENCH takes the options of bench/bench.py, as in `make bench BENCH="--work simple,rows"`.
bench: build
	scripts/prepare postgresql python compiler reference
	$(TARGET)/venv/bin/python bench/bench.py $(TARGET)/release/pgbouncer \
		--debian $(TARGET)/reference/usr/sbin/pgbouncer $(BENCH)

# Optimised, but with the checks of arithmetic that a release leaves out.
fuzz:
	PGBOUNCER_FUZZ_SEEDS=$(SEEDS) CARGO_PROFILE_DEV_OPT_LEVEL=2 \
		$(CARGO) test --locked --target-dir $(TARGET)/fuzz --test fuzz

install: build
	$(INSTALL) -D -m 755 $(TARGET)/release/pgbouncer $(DESTDIR)$(bindir)/pgbouncer
	$(INSTALL) -D -m 644 doc/pgbouncer.1 $(DESTDIR)$(mandir)/man1/pgbouncer.1
	$(INSTALL) -D -m 644 doc/pgbouncer.ini.5 $(DESTDIR)$(mandir)/man5/pgbouncer.ini.5
	$(INSTALL) -d $(DESTDIR)$(sharedir)
	$(INSTALL) -m 644 LICENSE etc/pgbouncer.ini etc/pgbouncer-minimal.ini etc/userlist.txt \
		$(DESTDIR)$(sharedir)
	$(INSTALL) -m 755 etc/mkauth $(DESTDIR)$(sharedir)

clean:
	$(CARGO) clean
	rm -rf target

# ---------------------------------------------------------------------------------------------
# The manual, the files of etc/, and the Debian package.

.PHONY: documents check-manual deb check-deb test-deb install-documents

# Writes the parts of doc/ and etc/ that come from tables.
documents:
	PGBOUNCER_WRITE_DOCUMENTS=1 $(CARGO) test --locked --lib documents

check: check-manual

check-manual:
	scripts/prepare manual
	scripts/check-manual

# The packages stand in target/deb.
deb:
	scripts/prepare package
	scripts/deb

# Two builds give the same bytes, and lintian is content.
check-deb:
	scripts/prepare package
	scripts/check-deb

# The package in a Debian of its own, with its systemd: the guide, upgrades, removal. As root.
test-deb:
	scripts/prepare package machine
	scripts/test-deb

install: install-documents

install-documents:
	$(INSTALL) -D -m 644 doc/pgbouncer.1 $(DESTDIR)$(mandir)/man1/pgbouncer.1
	$(INSTALL) -D -m 644 doc/pgbouncer.ini.5 $(DESTDIR)$(mandir)/man5/pgbouncer.ini.5
	ln -sf pgbouncer.ini.5 $(DESTDIR)$(mandir)/man5/pgbouncer.5
	$(INSTALL) -D -m 644 -t $(DESTDIR)$(sharedir) etc/pgbouncer.ini etc/pgbouncer-minimal.ini etc/userlist.txt
	$(INSTALL) -D -m 755 etc/mkauth $(DESTDIR)$(sharedir)/mkauth
