"""`python -m infilling` is `infill`."""

from infilling.cli import main

if __name__ == "__main__":
    main()
