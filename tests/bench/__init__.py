"""Speed and memory beside other programs that do the same: `make bench`, docs/performance.md."""
