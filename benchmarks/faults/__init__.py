"""The fault campaign: a small pipeline under every fault we know, compared with an undisturbed run.

python -m benchmarks.faults [ROW…] [--quick] [--kills N] [--items N] [--seed N]
"""
