"""The contract both stages import: recipe, time, layout, stores, verification, errors."""
