"""The study: KonCept512, its data sets, its one prediction loop, its metrics and its reports."""

__version__ = "0.1.0"
