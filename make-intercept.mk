# The original's command: make -f make-intercept.mk [install|uninstall] builds (installs) the preloaded library and its
# wrapper alone. The recipes stand in Makefile.

.PHONY: all install uninstall clean
all:
	@$(MAKE) --no-print-directory -f Makefile intercept
install:
	@$(MAKE) --no-print-directory -f Makefile install-intercept
uninstall clean:
	@$(MAKE) --no-print-directory -f Makefile $@
