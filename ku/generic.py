"""The small tools of the known API under one name; each is defined in the module of its idea."""

from ku.arrays import array_overlap, dist2mos, mapmm, minmax, plcc, srcc, srocc
from ku.console import Timer, pretty, pretty_print, print_sizes, raw_confirm, show_progress
from ku.containers import check_keys_exist, chunks, force_list, force_tuple, get_sizes, update_config, updated_dict
from ku.downloads import download_archive
from ku.files import make_dirs
from ku.hdf5 import H5Helper
from ku.names import ShortNameBuilder
from ku.sets import partition_rows

__all__ = [
    "H5Helper",
    "ShortNameBuilder",
    "Timer",
    "array_overlap",
    "check_keys_exist",
    "chunks",
    "dist2mos",
    "download_archive",
    "force_list",
    "force_tuple",
    "get_sizes",
    "make_dirs",
    "mapmm",
    "minmax",
    "partition_rows",
    "plcc",
    "pretty",
    "pretty_print",
    "print_sizes",
    "raw_confirm",
    "show_progress",
    "srcc",
    "srocc",
    "update_config",
    "updated_dict",
]
