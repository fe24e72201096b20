"""The one place the version is written."""

VERSION = "0.2.0"
