"""A program that runs a command for people as a user without rights; for root's tests only."""

AS_NOBODY = """
import os, pkgutil, sys
import compute_ctl.cli, compute_ctl.store
from compute_ctl.__main__ import main
# first everything that is imported late: nobody may not read a checkout in root's home
for package in compute_ctl.cli, compute_ctl.store:
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        __import__(module.name)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""
