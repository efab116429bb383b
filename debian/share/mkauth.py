#!/bin/sh
''':'
# What Debian's package of PgBouncer has under this name, as a program for the shell and for Python
# alike, since crontabs start it in either way. The work is done by mkauth, which needs no Python.
exec "$(dirname "$0")/mkauth" "$@"
'''
import os
import sys

program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mkauth")
os.execv(program, [program] + sys.argv[1:])
