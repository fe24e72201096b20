"""`python -m infilling` is `infill`."""

from infilling.cli import run

if __name__ == "__main__":
    run()
