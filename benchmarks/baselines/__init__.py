"""Other ways of doing the same, rebuilt to be measured beside ours."""
