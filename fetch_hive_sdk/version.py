"""The one place where the version stands; the build reads it from here."""

VERSION = "1.0.0.dev0"
