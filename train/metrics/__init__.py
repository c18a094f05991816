"""Official metric rules, one file per family; functions of plain arrays."""
