# netcond. 'make help' lists the targets. Everything that is needed besides the Swift toolchain is installed and fetched
# by the targets that need it (scripts/setup.sh, scripts/fetch-lwip.sh); a second run does only what is new.
#
#   NETCOND_LWIP=system   builds, tests, installs… against Debian's packaged liblwip, beside the other build (.build-system)
#   NETCOND_LWIP=source   insists on lwIP's source (by default a missing one is a warning, and the packaged one is used)

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
SWIFT_FLAGS ?=
TEST_FLAGS ?=
BENCH_FLAGS ?=
QUICK ?=
ONLY ?=
APPS_FLAGS ?=

.DEFAULT_GOAL := build
.NOTPARALLEL: # SwiftPM uses all cores by itself, and locks its folder

# Expanded when a recipe runs, that is after the target 'lwip' fetched the source or warned that there is none.
LWIP_MODE = $(if $(filter system,$(NETCOND_LWIP)),system,$(shell test -s Sources/CLwip/lwip/.version && echo source || echo system))
SCRATCH = $(if $(filter system,$(LWIP_MODE)),.build-system,.build)
RELEASE = $(SCRATCH)/release
BUILT = $(SCRATCH)/.release-built
SWIFT_ENV = $(if $(filter system,$(LWIP_MODE)),env NETCOND_LWIP=system)
SWIFT_BUILD = $(SWIFT_ENV) $(SWIFT) build --scratch-path $(SCRATCH) -c release --static-swift-stdlib $(SWIFT_FLAGS)
# 'install' replaces a file, it does not rewrite it: others may have it mapped. Symbols stay in $(RELEASE) alone.
INSTALL_PROGRAM = install -s -m 755
INSTALL_LIBRARY = install -s -m 644
INSTALL_SCRIPT = install -m 755

SETUP_STEP = build
APPLICATIONS = Tests/applications

.PHONY: build setup packages lwip intercept liblwip netcon test apps demo bench micro lint format \
  ensure-built ensure-intercept-built install install-intercept uninstall clean distclean help

build: packages lwip ## the release build: daemon, preloaded library, benchmark (the default)
	$(SWIFT_BUILD)
	@ln -sfn libnetcond-intercept.so $(RELEASE)/libzerotierintercept.so
	@for name in zerotier-netcon-service zerotier-cli; do ln -sfn netcond $(RELEASE)/$$name; done
	@touch $(BUILT)
	@echo "built in $(RELEASE)/ (lwIP: $(LWIP_MODE)): netcond, libzerotierintercept.so"

netcon: build ## the same, by the original's name

setup: ## installs all missing Debian packages and fetches lwIP's source
	@scripts/setup.sh all
	@scripts/fetch-lwip.sh

packages:
	@scripts/setup.sh $(SETUP_STEP)

lwip: packages
	@scripts/fetch-lwip.sh

test: SETUP_STEP = test
test: build ## builds, then runs all tests (TEST_FLAGS='--filter NAME' for some of the Swift ones alone)
	$(SWIFT_ENV) NETCOND_BIN_DIR='$(abspath $(RELEASE))' \
	  $(SWIFT) test --scratch-path $(SCRATCH) $(SWIFT_FLAGS) $(TEST_FLAGS)
	@if [ -z '$(strip $(TEST_FLAGS))' ]; then $(MAKE) --no-print-directory -f Makefile test-fallback test-apps; fi

# A daemon with the packaged lwIP loses no byte either. All of its tests: NETCOND_LWIP=system make test.
.PHONY: test-fallback
test-fallback:
	@if [ $(LWIP_MODE) = source ]; then \
	  env NETCOND_LWIP=system $(MAKE) --no-print-directory -f Makefile build && \
	  NETCOND_BIN_DIR='$(abspath .build-system/release)' \
	    $(SWIFT) test --scratch-path $(SCRATCH) --skip-build $(SWIFT_FLAGS) --filter ByteExactness; \
	fi

.PHONY: test-apps
test-apps: export NETCOND_BIN_DIR = $(abspath $(RELEASE))
test-apps:
	$(APPLICATIONS)/build.sh
	$(APPLICATIONS)/harness/selftest.py
	$(APPLICATIONS)/test.sh

apps: SETUP_STEP = test
apps: build ## runs real applications in full and writes docs/compatibility.md's table (ONLY=substring for some)
	@$(APPLICATIONS)/build.sh '$(ONLY)'
	@NETCOND_BIN_DIR='$(abspath $(RELEASE))' $(APPLICATIONS)/test.sh --full --document $(APPS_FLAGS) '$(ONLY)'

demo: SETUP_STEP = demo
demo: build ## two programs, neither recompiled, move 100 MB over a network that exists only in netcond
	@NETCOND_BIN_DIR='$(abspath $(RELEASE))' scripts/demo.sh

bench: SETUP_STEP = bench
bench: build ## compares with kernel TCP, pasta and slirp4netns (QUICK=1: three minutes; ONLY=substring); needs root and /dev/net/tun
	@if [ "$$(id -u)" != 0 ] || [ ! -c /dev/net/tun ]; then \
	  echo "make bench: needs root and /dev/net/tun, for network namespaces and a tap." >&2; \
	  echo "  Cure: sudo env PATH=\"\$$PATH\" make bench QUICK=1; in a container: --privileged --device /dev/net/tun" >&2; \
	  exit 1; \
	fi
	NETCOND_BIN_DIR='$(abspath $(RELEASE))' $(RELEASE)/netcond-bench compare --report bench-report \
	  $(if $(filter-out 0,$(QUICK)),--quick) $(if $(ONLY),--only '$(ONLY)') $(BENCH_FLAGS)

# A package of its own, with the benchmark framework: built here alone. Its parts also run, once each, among the tests.
micro: packages lwip ## micro-benchmarks: ring, slab, control blocks, timers, checksum, RPC, frames
	cd Benchmarks/Micro && $(SWIFT_ENV) $(SWIFT) package --scratch-path '$(abspath .build-micro)' \
	  --disable-sandbox benchmark $(BENCH_FLAGS)

# Only what a former 'make' did not build yet is built here, so 'sudo make install' needs no toolchain after it.
ensure-built:
	@if [ ! -e $(BUILT) ] || [ -n "$$(find Package.swift Sources -newer $(BUILT) -type f -print -quit)" ]; then \
	  $(MAKE) --no-print-directory -f Makefile build; fi

install: ensure-built install-files-intercept ## installs under PREFIX (/usr/local); DESTDIR is honoured
	$(INSTALL_PROGRAM) $(RELEASE)/netcond '$(DESTDIR)$(PREFIX)/bin/netcond'
	for name in zerotier-netcon-service zerotier-cli; do ln -sfn netcond '$(DESTDIR)$(PREFIX)/bin/'$$name; done

install-intercept: ensure-intercept-built install-files-intercept ## the library and its wrapper alone

.PHONY: install-files-intercept
install-files-intercept:
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/lib'
	$(INSTALL_LIBRARY) $(RELEASE)/libnetcond-intercept.so '$(DESTDIR)$(PREFIX)/lib/libzerotierintercept.so'
	$(INSTALL_SCRIPT) scripts/zerotier-intercept '$(DESTDIR)$(PREFIX)/bin/zerotier-intercept'

uninstall: ## removes what install put there
	rm -f '$(DESTDIR)$(PREFIX)/bin/netcond' '$(DESTDIR)$(PREFIX)/bin/zerotier-netcon-service' \
	  '$(DESTDIR)$(PREFIX)/bin/zerotier-cli' \
	  '$(DESTDIR)$(PREFIX)/bin/zerotier-intercept' '$(DESTDIR)$(PREFIX)/lib/libzerotierintercept.so'

intercept: packages lwip ## the preloaded library alone
	$(SWIFT_BUILD) --product netcond-intercept
	@ln -sfn libnetcond-intercept.so $(RELEASE)/libzerotierintercept.so

ensure-intercept-built:
	@if [ ! -e $(RELEASE)/libnetcond-intercept.so ] || \
	  [ -n "$$(find Sources/Intercept Sources/NetcondRPC/include -newer $(RELEASE)/libnetcond-intercept.so -type f -print -quit)" ]; then \
	  $(MAKE) --no-print-directory -f Makefile intercept; fi

liblwip: packages lwip ## lwIP alone
	@if [ $(LWIP_MODE) = system ]; then \
	  pkg-config --print-errors --exists lwip && echo "lwIP: Debian's packaged liblwip, nothing to build."; \
	else \
	  $(SWIFT_BUILD) --target CLwip; \
	fi

lint: ## swift-format's opinion on the sources
	$(SWIFT) format lint --strict --parallel --recursive Package.swift $(wildcard Sources Tests Benchmarks)

format: ## lays the sources out anew
	$(SWIFT) format --in-place --parallel --recursive Package.swift $(wildcard Sources Tests Benchmarks)

clean: ## removes what was built; fetched sources stay
	rm -rf .build/*-linux-* .build/release .build/debug .build/*.yaml .build/build.db .build/.release-built .build-system

distclean: ## removes all that git ignores here: builds, fetched sources, results
	rm -rf .build .build-* .cache Sources/CLwip/lwip bench-report $(APPLICATIONS)/_results

help: ## this list
	@sed -nE 's/^([a-z-]+):.* ## (.*)/  make \1\t\2/p' Makefile | expand -t 26
	@echo "  NETCOND_LWIP=system with any of them: Debian's packaged liblwip instead of the fetched source"
