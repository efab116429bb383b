# shellcheck shell=bash
walk_trouble() { :; }
