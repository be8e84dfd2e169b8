"""Stores corrections one after the other and prints each id once it has it; killed by a test."""

import sys

from store_tools import correction

from delineate.web.store import CorrectionStore

if __name__ == "__main__":
    with CorrectionStore(sys.argv[1]) as store:
        for number in range(int(sys.argv[2]), 10**6):
            key, _ = store.add(correction(number))
            print(f"{key} {number}", flush=True)
