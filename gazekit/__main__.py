"""`python -m gazekit` is `gazekit`."""

from gazekit.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
