"""python -m flux_svd."""

from flux_svd.cli import main

raise SystemExit(main())
