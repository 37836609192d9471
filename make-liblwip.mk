# The original's command: make -f make-liblwip.mk fetches lwIP's source package and compiles it, as the target CLwip (a
# part of the daemon, no library of its own). The recipes stand in Makefile.

.PHONY: all clean
all:
	@$(MAKE) --no-print-directory -f Makefile liblwip
clean:
	@$(MAKE) --no-print-directory -f Makefile clean
