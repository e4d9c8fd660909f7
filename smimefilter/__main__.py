"""`python -m smimefilter` is the command line."""

from smimefilter.cli import main

if __name__ == "__main__":
    main()
