"""Bitcoin as every writer and watcher of this project needs it, as pure machines."""
