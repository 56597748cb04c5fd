#!/bin/sh
# Stands in for the compiling process in tests: what would be the component is a script.
exec /bin/sh
