"""Scripts of the repository: set-up, locks, generated pages. None of them ships."""
