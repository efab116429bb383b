# shellcheck shell=bash
walk_life() { :; }
