# shellcheck shell=bash
walk_application() { :; }
