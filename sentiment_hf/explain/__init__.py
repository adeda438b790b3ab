"""Why a label was given."""
